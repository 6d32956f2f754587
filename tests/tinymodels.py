"""Small models with random weights, and a tokenizer over bytes."""

from pathlib import Path


def byte_tokenizer():
    """Each byte of UTF-8 is a token: half characters and split stop strings are the rule, not the exception."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: place for place, token in enumerate(["<end>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", pad_token="<end>")


def tiny(kind: str):
    """A random model of an architecture, peaked enough that likely tokens differ from unlikely ones."""
    from transformers import AutoConfig, AutoModelForCausalLM

    shapes = {
        # Three query heads share one of keys and values.
        "llama": {
            "num_attention_heads": 6,
            "num_key_value_heads": 2,
            "hidden_size": 48,
            "intermediate_size": 64,
        },
        # Heads of 32, the narrowest that vLLM computes on a CPU.
        "llama-32": {
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "hidden_size": 128,
            "intermediate_size": 64,
        },
        "qwen2": {
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
        },
        "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512},
        "codegen": {
            "n_embd": 32,
            "n_layer": 2,
            "n_head": 4,
            "n_positions": 512,
            "n_ctx": 512,
            "rotary_dim": 4,
        },
    }[kind]
    kind = kind.split("-")[0]
    if kind in ("llama", "qwen2"):
        shapes |= {"num_hidden_layers": 2, "max_position_embeddings": 512}
    config = AutoConfig.for_model(
        kind,
        vocab_size=257,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
        tie_word_embeddings=False,
        **shapes,
    )
    return randomised(lambda: AutoModelForCausalLM.from_config(config))


def randomised(make):
    """The model that `make` gives, with the same random weights each time."""
    import torch

    torch.manual_seed(7)
    model = make().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.25)
    return model


def write_gguf(path: Path) -> None:
    """A two-layer Llama with the byte tokenizer, as llama.cpp's tools would write it."""
    import gguf
    import numpy as np

    tokenizer = byte_tokenizer()
    tokens = [*sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get), "ab"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_license("apache-2.0")
    writer.add_context_length(256)
    writer.add_embedding_length(32)
    writer.add_block_count(2)
    writer.add_feed_forward_length(64)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(258)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3] + [1] * 257)
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.add_pad_token_id(0)
    draw = np.random.default_rng(0)
    shapes = {"token_embd": (258, 32), "output_norm": (32,)}
    for layer in range(2):
        parts = {"attn_q": (32, 32), "attn_k": (16, 32), "attn_v": (16, 32), "attn_output": (32, 32)}
        parts |= {"ffn_gate": (64, 32), "ffn_up": (64, 32), "ffn_down": (32, 64)}
        parts |= {"attn_norm": (32,), "ffn_norm": (32,)}
        shapes |= {f"blk.{layer}.{name}": shape for name, shape in parts.items()}
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", draw.normal(scale=0.3, size=shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
