"""Money and metering: prices, the ledger of calls, rolling caps, runs, reports, export and import."""
