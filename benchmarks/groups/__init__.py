"""What is compared with what: a file for each question."""

from benchmarks.groups import (
    configurations,
    data,
    documents,
    instead,
    recurrent_step,
    same_model,
    serving,
)

# In the order of the page.
GROUPS = {
    "documents": documents,
    "same_model": same_model,
    "recurrent_step": recurrent_step,
    "configurations": configurations,
    "instead": instead,
    "serving": serving,
    "data": data,
}
