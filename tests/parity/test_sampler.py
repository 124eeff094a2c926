# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from conftest import check_error
from diffusers import FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler

KINDS = [("unipc", order, solver) for order in (1, 2, 3) for solver in ("bh1", "bh2")] + [("euler", 1, "")]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("steps, shift", [(1, 3.0), (4, 1.0), (20, 5.0)])
def test_every_step(tmp_path, probe, record_property, kind, steps, shift):
    name, order, solver = kind
    if name == "unipc":
        scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift,
                                            solver_order=order, solver_type=solver)
    else:
        scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.save_pretrained(tmp_path / "scheduler")
    scheduler.set_timesteps(steps)
    generator = torch.Generator().manual_seed(steps)
    sample = first = torch.randn(1, 4, 2, 3, 5, generator=generator)
    predictions = torch.randn(steps, *sample.shape, generator=generator)
    expected = []
    for timestep, prediction in zip(scheduler.timesteps, predictions):
        sample = scheduler.step(prediction, timestep, sample, return_dict=False)[0]
        expected.append(sample)
    ours, _ = probe("sampler", tmp_path, {"sample": first, "predictions": predictions}, {"kind": name})
    check_error(record_property, ours["sigmas"], scheduler.sigmas, 1e-6)
    check_error(record_property, ours["timesteps"], scheduler.timesteps.double(), 1e-6)
    # With bh1 the reference's last step, to noise level 0, is infinity times zero; ours is the limit, the last x0.
    compared = steps - 1 if solver == "bh1" else steps
    assert ours["samples"].isfinite().all()
    if compared:
        check_error(record_property, ours["samples"][:compared], torch.stack(expected)[:compared], 1e-4)
