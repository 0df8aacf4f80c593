"""The pipeline: due messages become batches, batches become outcomes, outcomes become totals."""
