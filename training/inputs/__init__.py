"""Inputs and labels given by the caller: checked, converted and encoded before training and prediction."""
