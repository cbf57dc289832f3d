"""What is compared with what: a file for each question."""

from benchmarks.groups import (
    accuracy,
    configurations,
    data,
    documents,
    instead,
    recurrent_step,
    same_model,
    serving,
)

# In the order of the page, and in which they are measured: what most is promised of comes first.
GROUPS = {
    "documents": documents,
    "same_model": same_model,
    "serving": serving,
    "instead": instead,
    "recurrent_step": recurrent_step,
    "configurations": configurations,
    "data": data,
    "accuracy": accuracy,
}
ON_REQUEST = ("accuracy",)  # they take too long to be measured every time
