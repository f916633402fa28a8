"""Trainers: rendered scenes in, a self-describing model.onnx out. The only room where torch lives.

from trainers.config import read_config
from trainers.export import export
from trainers.train import train
export(train(read_config("configs/train/tiny-yolo.yaml"), "runs/tiny-yolo"), "tiny-yolo.onnx")
"""
