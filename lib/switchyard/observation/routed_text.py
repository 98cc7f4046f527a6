"""Which experts a model uses for given windows: what checkpoints of a training are compared by."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from switchyard.observation.windows import Batch
from switchyard.routing.attachment import attach

if TYPE_CHECKING:
    from torch import Tensor

    from switchyard.routing.selection import Selection


@torch.inference_mode()
def routed_experts(
    model: torch.nn.Module, batches: Iterable[Batch], *, special: Collection[int] = ()
) -> np.ndarray:
    """Experts of every token, most probable first, int16 [layers, tokens, k]; padding and `special` ids left out."""
    found: dict[int, list[np.ndarray]] = {}
    counted = np.empty(0, np.int64)

    def observe(layer: int, logits: Tensor, selection: Selection, context: Any) -> None:
        found.setdefault(layer, []).append(selection.experts.cpu().numpy()[counted].astype(np.int16))

    with attach(model, None, observer=observe, own_when_full=False):
        for batch in batches:
            ids, mask = batch.padded()
            counted = np.flatnonzero(mask)[~np.isin(batch.token_id, list(special))]
            input_ids, attention_mask = (torch.from_numpy(part).to(model.device) for part in (ids, mask))
            model.base_model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)
    return np.stack([np.concatenate(found[layer]) for layer in sorted(found)])
