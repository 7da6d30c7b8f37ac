"""Reviewed: what only users call, or what a protocol of Python or its library calls.

Everything else that vulture finds is dead code.
"""

# The public interface of receipt_dynamo.
_.batch_put_ai_usage_metrics
deliver_at_end_of_celery_workers
_.to_dynamodb_json
api_calls
_.get_ai_usage_metric
_.query_ai_usage_metrics_by_date
_.query_ai_usage_metrics_by_job
_.query_ai_usage_metrics_by_batch
_.query_ai_usage_metrics_by_model
_.query_ai_usage_metrics_by_user
_.query_ai_usage_metrics_by_environment
_.sum_ai_usage_costs_by_day
_.aput
_.aflush
_.cancel
_.submit_ai_usage_metric
no_waits
_.collect

# What statistics, events and snapshots say.
_.flushes
_.callback_errors
_.recorded
OPEN
HALF_OPEN
generation
consecutive_failures
window_failures
window_slow_calls
probes
successes
rejections
openings
spilled
journal_bytes
pages
other_items
read_units

# The fault proxy and the provider stub, for users' tests.
_.wait_for_requests
_.script
_.fail_next
_.answer_next
_.cut_next
_.hold_next
_.fail_next_stream
ai_usage
ai_usage_table
_.total_cost

# The public interface of receipt_label.
_.async_openai
_.wrap
_.async_anthropic
_.track_openai_completion
_.track_openai_embedding
_.track_anthropic_completion
_.track_google_places
_.track_github_claude_review
_.record_response
_.wrap_google_places
_.create_wrapped_openai_client
flex
priority
fast

# Called or read by Python, by sqlite3, http.server, socketserver, shtab or the providers' SDKs.
exc_info
__call__
__getattr__
__dir__
_.close_connection
_.text_factory
_.description
_.__context__
_.__class__
_.with_options
_.request_queue_size
_.process_request
_.server_bind
_.server_name
_.protocol_version
_.disable_nagle_algorithm
_.wbufsize
_.do_POST
_.do_GET
_.log_message

# For inspect and help.
_.__signature__
_.readable  # io.RawIOBase asks a reader for it
_.response_class  # http.client makes replies with it
_.ConnectionCls  # urllib3 makes connections with it
