"""`aotiny demo`: a real model exported, run without torch, and compared with torch.

`minilm` is the model and needs torch, as does `packages` when something is to be exported;
`corpus` the sentences; `worker` the measured process; `measure` starts workers; `report` prints.
"""
