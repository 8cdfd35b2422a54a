"""From logits to answers: confidence, prediction set, evidence, shift, abstention."""
