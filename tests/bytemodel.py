"""Tiny random models that read and write any text, byte by byte."""

from pathlib import Path


def write_model(folder: Path, architecture: str = "llama", seed: int = 0, context: int = 128) -> Path:
    """Write a folder with a random model of 2 layers and a byte-level tokenizer; needs torch."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import (
        AutoModelForCausalLM,
        Gemma2Config,
        GPT2Config,
        LlamaConfig,
        PreTrainedTokenizerFast,
    )

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate([*alphabet, "<end>"])}, merges=[]))
    tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokens.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokens, eos_token="<end>", pad_token="<end>")
    small = {"vocab_size": 257, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    ends = {"eos_token_id": 256, "pad_token_id": 256, "bos_token_id": None}
    config = {
        "llama": LlamaConfig(**small, **ends, intermediate_size=48, max_position_embeddings=context),
        "gpt2": GPT2Config(vocab_size=257, n_embd=32, n_layer=2, n_head=2, n_positions=context, **ends),
        "gemma2": Gemma2Config(
            **small, **ends, intermediate_size=48, head_dim=16, num_key_value_heads=1,
            max_position_embeddings=context, final_logit_softcapping=0.5,
        ),
    }[architecture]  # fmt: skip
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
