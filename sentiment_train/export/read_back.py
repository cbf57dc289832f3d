"""Loads a SavedModel in a process of its own and answers texts, with nothing but TensorFlow.

    python read_back.py DIRECTORY OUTPUT < request.json > answers.json

The request is a list of texts, each as a list of bytes; the answers are one output (the logits), of
each text alone and of all in one batch, and the package that had to be imported before loading.
"""

import json
import sys


def load(directory: str):
    """A SavedModel and the package with ops that it needs, "" or "tensorflow_text".

    Raises:
      ModuleNotFoundError: if that package is not there; it names the missing op.
    """
    import tensorflow as tf

    try:
        return tf.saved_model.load(directory), ""
    except (RuntimeError, OSError) as error:  # which of them depends on the op
        if "Op type not registered" not in str(error):
            raise
        missing = str(error).split("'")[1]
    try:
        import tensorflow_text  # noqa: F401  # brings its ops by being imported
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            f"it has an op of tensorflow-text ({missing}), which is not installed: pip install"
            f" 'tensorflow-text~={tf.__version__.rpartition('.')[0]}.0'"
        ) from None
    return tf.saved_model.load(directory), "tensorflow_text"


def main() -> None:
    import tensorflow as tf

    texts = [bytes(values) for values in json.load(sys.stdin)]
    directory, output = sys.argv[1:]
    model, needs = load(directory)
    serve = model.signatures["serving_default"]
    together = serve(text=tf.constant(texts))[output].numpy().tolist()
    alone = [serve(text=tf.constant([text]))[output].numpy().tolist()[0] for text in texts]
    print(json.dumps({"together": together, "alone": alone, "needs": needs}))


if __name__ == "__main__":
    main()
