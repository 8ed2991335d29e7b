"""An engine opened on the GPU by TensorRT's Python API: one image input, one output of logits; run it, or time it.

I/O may be float32 or float16; arrays outside are float32. TensorRT is told addresses by tensor names, so 8.5 is the oldest.
"""

import contextlib

from . import plan_header
from .problem import Problem, device_code
from .tensorrt_build import created
from .tensorrt_log import version

_NUMPY = {"FLOAT": "float32", "HALF": "float16"}  # trt.nptype raises for some types and breaks with new numpy on 8.x


class Engine(contextlib.ExitStack):
    """With: the engine of a plan file, its stream and, once bound, its buffers.

    Raises Problem "device": another version's, another GPU's, damaged, inputs or outputs we cannot serve; "device-memory".
    """

    def __init__(self, trt, cuda, logger, path):
        super(Engine, self).__init__()
        plan_header.check(path, version(trt))
        self._trt, self._cuda, self._logger, self._path, self._since = trt, cuda, logger, str(path), len(logger.lines)
        self._bound_to = None
        with contextlib.ExitStack() as opening:  # what was made before a failure is released
            opening.callback(self._release)
            trt.init_libnvinfer_plugins(logger, "")
            self._runtime = created(trt.Runtime, logger)
            with open(self._path, "rb") as file:
                self._engine = self._made(self._runtime.deserialize_cuda_engine(file.read()), "TensorRT refuses the engine")
            self._input, self._output = self._names()
            self._dtypes = {name: self._dtype(name) for name in (self._input, self._output)}
            self._context = self._made(self._engine.create_execution_context(), "TensorRT cannot make room to run the engine")
            self._stream = opening.enter_context(cuda.stream())
            self.push(opening.pop_all())  # from here on they end when this ends, after the buffers

    def run(self, inputs, batch=1):
        """Logits of a float32 array [N, 3, H, W]: float32 [N, classes], ``batch`` images a query as far as the engine allows."""
        import numpy

        rows, batch = [], self._bind(batch, inputs.shape[1:])
        for start in range(0, len(inputs), batch):
            part = inputs[start : start + batch]
            self._given[: len(part)] = part  # behind a last, shorter one are the images before: their rows are not taken
            self._send()
            self._enqueue()
            self._cuda.copy_to_host(self._got, self._addresses[self._output], self._stream)
            self._cuda.synchronise(self._stream)
            rows.append(self._got[: len(part)].astype(numpy.float32))
        return numpy.concatenate(rows) if rows else numpy.zeros((0,) + self._got.shape[1:], numpy.float32)

    @contextlib.contextmanager
    def graph(self, example):
        """With: a CUDA graph of one query of ``example``, or None where the engine holds what cannot be captured.

        Binds the engine to the example and runs it once: initialisation must not be captured.
        """
        self._bind(len(example), example.shape[1:], exactly=True)
        self._given[:] = example
        self._send()
        self._enqueue()
        self._cuda.synchronise(self._stream)
        with self._cuda.captured(self._stream, lambda: self._context.execute_async_v3(self._stream)) as graph:
            try:
                yield graph
            finally:
                with contextlib.suppress(Problem):  # what is still on the stream must not run on things released
                    self._cuda.synchronise(self._stream)

    def query(self, graph):
        """A callable that times queries of the example of ``graph``; it launches the graph, or enqueues where that is None.

        As trtexec does without transfers: each call puts one more query between two events on the stream, waits for the one
        before and returns that one's milliseconds of computing. So the GPU never waits for the next launch, which would be
        counted otherwise. One query is left on the stream between blocks: discard at least one at the start of each.
        """
        cuda, stream = self._cuda, self._stream
        marks = [(self.enter_context(cuda.event()), self.enter_context(cuda.event())) for _ in range(2)]
        turn = [0]

        def put(number):
            start, end = marks[number]
            cuda.record(start, stream)
            if graph is None:
                self._enqueue()
            else:
                cuda.launch(graph, stream)
            cuda.record(end, stream)

        def one_query():
            before = turn[0]
            turn[0] = 1 - before
            put(turn[0])
            start, end = marks[before]
            cuda.wait(end)
            return cuda.milliseconds(start, end)

        put(0)
        return one_query

    def layers_json(self):
        """TensorRT's own account of the engine's layers, a JSON text."""
        inspector = self._engine.create_engine_inspector()
        return str(inspector.get_engine_information(self._trt.LayerInformationFormat.JSON))

    def _bind(self, batch, shape, exactly=False):
        """Make buffers for a batch and tell TensorRT where they are; returns the batch, which the engine may have fixed."""
        fixed = tuple(self._engine.get_tensor_shape(self._input))
        if fixed[1:] != tuple(shape) or len(fixed) != 4:
            raise self._problem("the engine takes other images", "%s, not %s" % (list(fixed), [batch] + list(shape)))
        asked, least, most = batch, fixed[0], fixed[0]
        if fixed[0] < 0:
            least, _, most = (one[0] for one in self._engine.get_tensor_profile_shape(self._input, 0))
        batch = min(max(batch, least), most)
        if exactly and batch != asked:
            raise self._problem("the engine takes other batches", "%d to %d images, not %d" % (least, most, asked))
        if batch == self._bound_to:
            return batch
        if fixed[0] < 0:
            self._done(self._context.set_input_shape(self._input, (batch,) + fixed[1:]), "the engine refuses the batch")
        shapes = {name: tuple(self._context.get_tensor_shape(name)) for name in (self._input, self._output)}
        if len(shapes[self._output]) != 2 or shapes[self._output][0] != batch:
            raise self._problem("the engine does not give one row of logits an image", str(shapes[self._output]))
        arrays, self._addresses = {}, {}
        for name, size in shapes.items():
            arrays[name] = self.enter_context(self._cuda.pinned(size, self._dtypes[name]))
            self._addresses[name] = self.enter_context(self._cuda.device_memory(arrays[name].nbytes))
            self._done(self._context.set_tensor_address(name, self._addresses[name]), "TensorRT refuses an address")
        self._given, self._got, self._bound_to = arrays[self._input], arrays[self._output], batch
        return batch

    def _send(self):
        self._cuda.copy_to_device(self._addresses[self._input], self._given, self._stream)

    def _enqueue(self):
        self._done(self._context.execute_async_v3(self._stream), "the engine does not run")

    def _names(self):
        """The names of the one input and the one output."""
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        modes = [[name for name in names if self._engine.get_tensor_mode(name) == mode]
                 for mode in (self._trt.TensorIOMode.INPUT, self._trt.TensorIOMode.OUTPUT)]  # fmt: skip
        if [len(one) for one in modes] != [1, 1]:
            seen = "inputs %s, outputs %s" % tuple(", ".join(one) or "none" for one in modes)
            raise self._problem("the engine does not have one input and one output", seen)
        return modes[0][0], modes[1][0]

    def _dtype(self, name):
        kind = self._engine.get_tensor_dtype(name)
        for known, dtype in _NUMPY.items():
            if kind == getattr(self._trt.DataType, known):
                return dtype
        raise self._problem("%s is neither float32 nor float16" % name, str(kind))

    def _made(self, thing, what):
        if thing is None:
            raise self._problem(what, self._logger.last_errors(self._since))
        return thing

    def _done(self, succeeded, what):
        if not succeeded:
            raise self._problem(what, self._logger.last_errors(self._since))

    def _problem(self, what, seen):
        return Problem(
            device_code(seen), what, self._path, seen or "TensorRT gives no reason", "build the engine again, on this device"
        )

    def _release(self):
        """In the order TensorRT asks for: the context, the engine, the runtime."""
        self._context = None
        self._engine = None
        self._runtime = None
