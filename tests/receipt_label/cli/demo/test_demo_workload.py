"""The pace of the calls, and what is measured of them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from receipt_label.cli.demo.workload import SdkClients, TransportTimer, Workload, count_due


class FakeClock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class FakeSdk:
    """An SDK client of either provider, whose HTTP client takes 2 s of each call's 5 s."""

    def __init__(self, clock: FakeClock, timer: TransportTimer) -> None:
        self.clock = clock
        self.http_client = timer.watch(SimpleNamespace(send=lambda: clock.advance(2)))
        self.asked: list[str] = []
        self.chat = SimpleNamespace(completions=self)
        self.messages = self

    def create(self, *, model: str, **request: object) -> SimpleNamespace:
        self.asked.append(model)
        self.clock.advance(3)
        self.http_client.send()
        usage = SimpleNamespace(
            prompt_tokens=1, completion_tokens=2, input_tokens=3, output_tokens=4
        )
        return SimpleNamespace(id=f"{model} {len(self.asked)}", usage=usage)


def test_calls_spread_evenly_over_their_time() -> None:
    assert [count_due(10, elapsed, 4.0) for elapsed in (0, 1, 2, 3.99, 4, 9)] == [
        0,
        2,
        5,
        9,
        10,
        10,
    ]


def test_every_call_is_made_once_and_half_go_to_each_provider() -> None:
    clock = FakeClock()
    timer = TransportTimer(clock)
    openai, anthropic = FakeSdk(clock, timer), FakeSdk(clock, timer)
    ticks: list[int] = []
    with Workload(
        SdkClients(openai, anthropic), 1, timer, clock=clock, sleep=clock.advance
    ) as workload:
        workload.run(3, 1.0, lambda: ticks.append(workload.count_done))
        workload.run(5, 1.0, lambda: None)

    assert len(workload.calls) == workload.count_done == 8
    assert len({call.response_id for call in workload.calls}) == 8
    assert [call.service for call in workload.calls] == ["openai", "anthropic"] * 4
    assert openai.asked == ["gpt-4o-mini", "gpt-4.1"] * 2
    assert {call.input_tokens for call in workload.calls} == {1, 3}
    assert ticks[-1] == 3
    assert workload.slowest >= 5.0


def test_what_an_sdk_raises_is_a_failed_call() -> None:
    class Broken(FakeSdk):
        def create(self, *, model: str, **request: object) -> SimpleNamespace:
            raise RuntimeError("tracking broke the call")

    clock = FakeClock()
    timer = TransportTimer(clock)
    broken = Broken(clock, timer)
    with Workload(
        SdkClients(broken, broken), 1, timer, clock=clock, sleep=clock.advance
    ) as workload:
        workload.run(1, 1.0, lambda: None)

    (call,) = workload.calls
    assert call.response_id is None
    assert call.error == "openai call 0: RuntimeError('tracking broke the call')"


def test_the_time_of_the_provider_is_told_from_the_rest() -> None:
    clock = FakeClock()
    timer = TransportTimer(clock)
    sdk = FakeSdk(clock, timer)
    workload = Workload(SdkClients(sdk, sdk), 1, timer, clock=clock)
    try:
        first, second = (workload._make_call(number) for number in range(2))
    finally:
        workload.close()

    assert (first.seconds, first.own_seconds) == pytest.approx((5.0, 3.0))
    assert second.own_seconds == pytest.approx(3.0)


def test_a_failed_send_is_measured_too() -> None:
    clock = FakeClock()

    def fail() -> None:
        clock.advance(4)
        raise ConnectionError

    timer = TransportTimer(clock)
    client = timer.watch(SimpleNamespace(send=fail))
    with pytest.raises(ConnectionError):
        client.send()

    assert timer.take() == 4
    assert timer.take() == 0


def test_the_wait_of_a_failed_call_does_not_count_for_the_next() -> None:
    class FailsAtFirst(FakeSdk):
        def create(self, *, model: str, **request: object) -> SimpleNamespace:
            reply = super().create(model=model, **request)
            if len(self.asked) == 1:
                raise ConnectionError
            return reply

    clock = FakeClock()
    timer = TransportTimer(clock)
    sdk = FailsAtFirst(clock, timer)
    workload = Workload(SdkClients(sdk, sdk), 1, timer, clock=clock)
    try:
        failed, answered = (workload._make_call(number) for number in range(2))
    finally:
        workload.close()

    assert failed.error
    assert answered.own_seconds == pytest.approx(3.0)
