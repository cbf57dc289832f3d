"""A sentence encoder as a SavedModel in the manner of TF-Hub: strings in, vectors out.

    python -m sentiment_train.models.saved_encoder --output=use_multilingual

writes the packaged multilingual Universal Sentence Encoder. Whatever reads encoders of TF-Hub reads
it, with `import tensorflow_text` before it is loaded:

    encoder = tf.saved_model.load("use_multilingual")    # or hub.KerasLayer("use_multilingual")
    encoder(["a text", "ein Text"])                      # [2, 512] float32
    encoder.trainable_variables, encoder.signatures["serving_default"]
"""

from __future__ import annotations

from absl import app, flags

from sentiment_train import command_line, quiet
from sentiment_train.errors import RunError


def saved_encoder(fitted, layer):
    """The object that is saved; see https://www.tensorflow.org/hub/reusable_saved_models.

    Args:
      fitted: a `FittedEncoder` of ids.
      layer: a Keras layer from tokens and lengths to `[batch, dimension]`.

    Returns:
      A trackable object: `__call__` takes `[n] string`, any n and any bytes.
    """
    import tensorflow as tf

    from sentiment_train.data.encoders import features_of

    if not layer.built:
        layer.build()  # now: inside the function below it would be slow and take gigabytes

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def call(inputs):
        return layer(features_of(fitted, inputs), training=False)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def serve(inputs):
        return {"outputs": call(inputs)}

    saved = tf.train.Checkpoint()
    saved.resources = list(getattr(fitted, "resources", []))
    saved.variables = [variable.value for variable in layer.variables]
    saved.trainable_variables = [variable.value for variable in layer.trainable_variables]
    saved.regularization_losses = []
    saved.__call__, saved.serve = call, serve
    return saved


def write(saved, directory: str) -> None:
    """Writes what `saved_encoder` made, aside first.

    Raises:
      RunError: if something is there already, or if it cannot be written.
    """
    import tensorflow as tf

    refuse_existing(directory)
    partial = f"{directory}.partial"
    try:
        if tf.io.gfile.exists(partial):
            tf.io.gfile.rmtree(partial)
        tf.saved_model.save(saved, partial, signatures={"serving_default": saved.serve})
        tf.io.gfile.rename(partial, directory)
    except (OSError, tf.errors.OpError) as error:
        reason = getattr(error, "message", error)
        raise RunError(f"Cannot write {directory}: {reason}.") from None


def refuse_existing(directory: str) -> None:
    """Raises RunError if something is there."""
    import tensorflow as tf

    if tf.io.gfile.exists(directory):
        raise RunError(f"{directory} is there already; remove it or name another directory.")


def main() -> None:
    """Writes the packaged encoder to --output."""
    output = flags.DEFINE_string("output", None, "The directory to be written.", required=True)

    def job():
        quiet.import_tensorflow()
        from sentiment_train.models.multilingual_use import MultilingualUse

        MultilingualUse().save_as_saved_model(output.value)
        print(f"{output.value}: strings → [n, {MultilingualUse.dimension}] float32")

    app.run(lambda argv: command_line.exit_code(argv, job))


if __name__ == "__main__":
    main()
