"""Tiny random models of the decoder architectures of transformers, and how engine `torch` takes each.

    PYTHONPATH=src:tests:tests/sampling python tests/sampling/architectures.py

prints the table of docs/sampling.md.
"""

import logging
import tempfile
from pathlib import Path

from tinymodels import byte_tokenizer, randomised

CONTEXT = 512
# Names of the same thing in the configs of older and newer architectures; each takes those it knows.
SIZES = {
    "vocab_size": 257,
    "hidden_size": 32,
    "n_embd": 32,
    "d_model": 32,
    "word_embed_proj_dim": 32,
    "hidden_size_per_layer_input": 8,
    "vocab_size_per_layer_input": 257,
    "intermediate_size": 48,
    "ffn_dim": 48,
    "ffn_hidden_size": 48,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
    "intermediate_size_mlp": 48,
    "num_hidden_layers": 2,
    "n_layer": 2,
    "n_layers": 2,
    "num_layers": 2,
    "num_attention_heads": 4,
    "n_head": 4,
    "n_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": CONTEXT,
    "n_positions": CONTEXT,
    "n_ctx": CONTEXT,
    "max_seq_len": CONTEXT,
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
}
ENDS = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}

# Name in the table: (model type, what differs from its defaults at these sizes).
MODELS = {
    "apertus": ("apertus", {}),
    "arcee": ("arcee", {}),
    "bloom": ("bloom", {}),
    "codegen": ("codegen", {"rotary_dim": 4}),
    "cohere": ("cohere", {}),
    "cohere2, window 16": ("cohere2", {"sliding_window": 16}),
    "deepseek_v3": ("deepseek_v3", {"first_k_dense_replace": 1, "num_key_value_heads": 4}),
    "diffllama": ("diffllama", {}),
    "doge": ("doge", {}),
    "ernie4_5": ("ernie4_5", {}),
    "exaone4, window 16": ("exaone4", {"sliding_window": 16}),
    "falcon": ("falcon", {"new_decoder_architecture": True, "num_kv_heads": 2}),
    "falcon, ALiBi": ("falcon", {"alibi": True}),
    "falcon_h1": ("falcon_h1", {"mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 8}),
    "gemma": ("gemma", {}),
    "gemma2, window 16, soft caps": ("gemma2", {"sliding_window": 16, "attn_logit_softcapping": 2.0}),
    "gemma3_text, window 64": ("gemma3_text", {"sliding_window": 64, "sliding_window_pattern": 2}),
    "gemma3n_text, window 16": ("gemma3n_text", {"sliding_window": 16, "num_hidden_layers": 4, "num_kv_shared_layers": 2,
                                                 "laurel_rank": 8, "activation_sparsity_pattern": [0.0] * 4}),
    "gemma4_text, window 16": ("gemma4_text", {"sliding_window": 16}),
    "glm": ("glm", {}),
    "glm4": ("glm4", {}),
    "gpt2": ("gpt2", {}),
    "gpt_bigcode": ("gpt_bigcode", {}),
    "gpt_neo, window 16": ("gpt_neo", {"window_size": 16, "attention_types": [[["global", "local"], 1]]}),
    "gpt_neox": ("gpt_neox", {}),
    "gpt_oss, window 16, sinks": ("gpt_oss", {"sliding_window": 16}),
    "gptj": ("gptj", {"rotary_dim": 4}),
    "granite": ("granite", {}),
    "granitemoe": ("granitemoe", {}),
    "helium": ("helium", {}),
    "jamba": ("jamba", {"use_mamba_kernels": False}),
    "lfm2": ("lfm2", {"block_auto_adjust_ff_dim": False,
                      "layer_types": ["conv", "full_attention"]}),
    "llama": ("llama", {}),
    "llama, tied head": ("llama", {"tie_word_embeddings": True}),
    "llama, partial rotary": (
        "llama",
        {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}},
    ),
    "llama, dynamic positions": (
        "llama",
        {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}},
    ),
    "llama, YaRN": (
        "llama",
        {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0,
                             "original_max_position_embeddings": 64}},
    ),
    "llama4_text, chunks of 64": ("llama4_text", {"attention_chunk_size": 64}),
    "mamba2": ("mamba2", {"num_heads": 8, "head_dim": 8, "n_groups": 1}),
    "minimax": ("minimax", {}),
    "ministral, window 16": ("ministral", {"sliding_window": 16}),
    "ministral3": ("ministral3", {}),
    "mistral": ("mistral", {"sliding_window": None}),
    "mistral, window 16": ("mistral", {"sliding_window": 16}),
    "mistral, window 64": ("mistral", {"sliding_window": 64}),
    "mistral, window beyond the context": ("mistral", {"sliding_window": 4096}),
    "mixtral, window 64": ("mixtral", {"sliding_window": 64}),
    "mpt": ("mpt", {}),
    "nemotron": ("nemotron", {}),
    "olmo": ("olmo", {}),
    "olmo2": ("olmo2", {}),
    "olmo3, window 16": ("olmo3", {"sliding_window": 16}),
    "olmoe": ("olmoe", {}),
    "opt": ("opt", {}),
    "persimmon": ("persimmon", {}),
    "phi, partial rotary": ("phi", {}),
    "phi3": ("phi3", {}),
    "phi3, longrope": (
        "phi3",
        {"original_max_position_embeddings": 64,
         "rope_parameters": {"rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 64,
                             "short_factor": [1.0] * 4, "long_factor": [2.0] * 4}},
    ),
    "phi3, window 64": ("phi3", {"sliding_window": 64}),
    "qwen2": ("qwen2", {}),
    "qwen2, window 16, 1 of 2 layers": (
        "qwen2",
        {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1},
    ),
    "qwen2_moe": ("qwen2_moe", {}),
    "qwen3": ("qwen3", {}),
    "qwen3, window 16": ("qwen3", {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1}),
    "qwen3_moe": ("qwen3_moe", {}),
    "qwen3_next": ("qwen3_next", {"linear_num_key_heads": 2, "linear_num_value_heads": 4,
                                  "linear_key_head_dim": 8, "linear_value_head_dim": 8}),
    "recurrent_gemma, window 16": ("recurrent_gemma", {"attention_window_size": 16, "lru_width": 32}),
    "seed_oss": ("seed_oss", {}),
    "smollm3, every 2nd layer without positions": ("smollm3", {"no_rope_layer_interval": 2}),
    "smollm3, window 16": ("smollm3", {"use_sliding_window": True, "sliding_window": 16}),
    "stablelm, partial rotary": ("stablelm", {}),
    "starcoder2, window 64": ("starcoder2", {"sliding_window": 64}),
    "xglm": ("xglm", {"attention_heads": 4}),
}  # fmt: skip


def build(name: str, folder: Path) -> None:
    """Write a model of `MODELS` with its tokenizer."""
    from transformers import AutoModelForCausalLM
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    kind, special = MODELS[name]
    known = vars(CONFIG_MAPPING[kind]()).keys() | CONFIG_MAPPING[kind].attribute_map.keys()
    sizes = {size: value for size, value in SIZES.items() if size in known}
    config = CONFIG_MAPPING[kind](**{"tie_word_embeddings": False, **ENDS, **sizes, **special})
    randomised(lambda: AutoModelForCausalLM.from_config(config)).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)


def row(name: str, line: str | None) -> str:
    """The row of `table` about a model, from the line with which it was handed over (None: it was not)."""
    return f"| {name} | {'exact' if line is None else 'hands over: ' + line.split(': ')[1]} |"


def table() -> str:
    """Markdown: each of `MODELS`, and whether engine `torch` computes it or hands it over, and why."""
    from ilf.sampling import open_sampler
    from ilf.sampling.torch_engine import TorchSampler

    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    logging.getLogger("ilf.sampling.torch_engine").addHandler(handler)
    rows = ["| model | engine `torch` |", "|---|---|"]
    for name in MODELS:
        said.clear()
        with tempfile.TemporaryDirectory() as folder:
            build(name, Path(folder))
            exact = isinstance(open_sampler("torch", folder, device="cpu"), TorchSampler)
        rows.append(row(name, None if exact else said[0]))
    return "\n".join(rows)


if __name__ == "__main__":
    print(table())
