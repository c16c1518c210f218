"""Google Dataflow: a template and its launcher."""
