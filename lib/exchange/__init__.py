"""Usage out and in: exports to CSV and Parquet, and the import that reads them back."""
