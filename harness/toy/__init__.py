"""A small world with exact preferences, in which the whole harness runs on two cores."""
