"""One AI call, whoever served it: what was asked, what was replied, what it used."""
