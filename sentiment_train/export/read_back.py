"""Loads a SavedModel in a process of its own and answers texts, with nothing but TensorFlow.

    python read_back.py DIRECTORY OUTPUT < request.json > answers.json

The request is a list of texts, each as a list of bytes; the answers are one output (the logits), of
each text alone and of all in one batch.
"""

import json
import sys


def main() -> None:
    import tensorflow as tf

    texts = [bytes(values) for values in json.load(sys.stdin)]
    directory, output = sys.argv[1:]
    serve = tf.saved_model.load(directory).signatures["serving_default"]
    together = serve(text=tf.constant(texts))[output].numpy().tolist()
    alone = [serve(text=tf.constant([text]))[output].numpy().tolist()[0] for text in texts]
    print(json.dumps({"together": together, "alone": alone}))


if __name__ == "__main__":
    main()
