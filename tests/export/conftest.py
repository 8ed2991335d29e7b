import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def exported():
    """Of one of the hard nets: the Quantized and its marked graph. Exported once a session, when first asked for."""
    import hard_nets

    from edgekd import export, quant

    made = {}

    def get(name):
        if name not in made:
            quantized = quant.quantize(hard_nets.make(getattr(hard_nets, name)), [hard_nets.images(64)])
            made[name] = (quantized, export.float_export(quantized.for_export(), quantized.image_size))
        return made[name]

    return get
