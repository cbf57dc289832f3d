"""The strategy and the decisions of a TPU that is not there.

A step is traced for one of its replicas, with the collectives of all of them, so that the program
is the one that a core would run. Nothing can be executed: it can only be lowered.
"""

from __future__ import annotations

import tensorflow as tf
from tensorflow.compiler.tf2xla.ops import gen_xla_ops
from tensorflow.python.distribute import distribute_lib, one_device_strategy

from sentiment_train.runtime.peers import Alone
from sentiment_train.runtime.runtime import Decisions, Runtime, decide
from sentiment_train.runtime.strategy import Devices


class AbsentTpu(distribute_lib.Strategy):
    """Variables and other operations are on the CPU; a replica is one of `replicas`."""

    def __init__(self, replicas: int):
        super().__init__(_Extended(self, replicas))


class _Extended(one_device_strategy.OneDeviceExtended):
    def __init__(self, strategy, replicas: int):
        super().__init__(strategy, "/cpu:0")
        self._replicas = replicas

    @property
    def _num_replicas_in_sync(self) -> int:
        return self._replicas

    def _call_for_each_replica(self, fn, args, kwargs):
        strategy = self._container_strategy()
        with tf.device(self._device), _Replica(strategy, gen_xla_ops.xla_replica_id()):
            return fn(*args, **kwargs)


class _Replica(distribute_lib.ReplicaContext):
    """Sums over replicas as a TPU does: each is one operation of the program."""

    def all_reduce(self, reduce_op, value, options=None):
        """Raises ValueError for a mean, which nothing here asks for."""
        if reduce_op != tf.distribute.ReduceOp.SUM:
            raise ValueError(f"{reduce_op} over replicas is not lowered")
        return tf.nest.map_structure(self._sum, value)

    def all_gather(self, value, axis, options=None):
        return tf.nest.map_structure(lambda tensor: self._gathered(tensor, axis), value)

    def _sum(self, tensor):
        together = [list(range(self.num_replicas_in_sync))]
        return gen_xla_ops.xla_all_reduce(tensor, together, "Add", "CrossReplica")

    def _gathered(self, tensor, axis: int):
        """As `TPUStrategy` does it: the sum of what is 0 but in the place of the own replica."""
        replicas = self.num_replicas_in_sync
        shape = tf.shape(tensor)  # XLA may know it where the graph does not
        mine = tf.one_hot(self.replica_id_in_sync_group, replicas, dtype=tensor.dtype)
        ones = tf.ones([tf.rank(tensor) - axis], tf.int32)
        mine = tf.reshape(mine, tf.concat([tf.ones([axis], tf.int32), [replicas], ones], axis=0))
        gathered = self._sum(tf.expand_dims(tensor, axis) * mine)
        together = tf.concat(
            [shape[:axis], shape[axis : axis + 1] * replicas, shape[axis + 1 :]], 0
        )
        return tf.reshape(gathered, together)


def decisions_for(runtime: Runtime, replicas: int, topology: str) -> Decisions:
    """What would be decided on a TPU, whatever `Runtime.strategy` says.

    Raises:
      ConfigError: for a setting that a TPU cannot have.
    """
    reason = f"the cores of a {topology} that is not here"
    devices = Devices("tpu", AbsentTpu(replicas), Alone(), reason)
    return decide(runtime, devices=devices)
