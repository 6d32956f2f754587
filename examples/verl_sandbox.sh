#!/bin/sh
# verl's own code reward, with `ilf serve verifier` where it expects SandboxFusion. verl asks it about data whose
# data_source is codecontests, apps, codeforces or taco (prompts with "inputs" and "outputs" as ground truth).
#
#   ilf serve verifier --keys-file keys.txt --host 0.0.0.0 --max-seconds 30
#   VERIFIER=http://verl:KEY@verifier:8080 sh examples/verl_sandbox.sh data.train_files=… actor_rollout_ref.model.path=…
#
# verl's client sends no key; a URL with a password gives it one. max_concurrent is of each reward worker: all of
# them together should stay below the server's --client-queue. In newer versions the settings are called
# reward.sandbox_fusion.*; set SECTION=reward for those.
set -eu
: "${VERIFIER:?the URL of ilf serve verifier}"
SECTION=${SECTION:-reward_model}
exec python3 -m verl.trainer.main_ppo \
  algorithm.adv_estimator=grpo \
  "$SECTION.sandbox_fusion.url=$VERIFIER/run_code" \
  "$SECTION.sandbox_fusion.max_concurrent=${MAX_CONCURRENT:-64}" \
  "$SECTION.sandbox_fusion.memory_limit_mb=${MEMORY_MB:-1024}" \
  "$@"
