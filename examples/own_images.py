"""Teach a life two lessons from any torch data set, and ask it about images that it has not seen.

python examples/own_images.py
"""

import torch
from torch.utils.data import Dataset

from mygo import Life, load_dataset, preset


class Digits(Dataset[tuple[torch.Tensor, str]]):
    """Some of scikit-learn's digits: pairs of an image (uint8 [1, 8, 8]) and the name of its class."""

    def __init__(self, *classes: int) -> None:
        data = load_dataset("digits")
        self.pairs = [
            (image, data.class_names[label])
            for image, label in zip(data.train.inputs, data.train.labels.tolist(), strict=True)
            if label in classes
        ]

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, str]:
        return self.pairs[index]


def main() -> None:
    """Learn 0, 1 and 2, then 3 and 4, when the images of the first three are gone."""
    torch.set_num_threads(1)  # more are slower on images of 8×8
    life = Life.create((1, 8, 8), config=preset("digits"))  # a folder, as the second argument, would keep it
    life.learn(Digits(0, 1, 2), "first digits")
    life.learn(Digits(3, 4), "second digits")

    test = load_dataset("digits").test
    seen = test.labels < 5
    predictions = life.predict(test.inputs[seen])
    right = [name == str(label) for name, label in zip(predictions.names, test.labels[seen].tolist(), strict=True)]
    print(f"Right among all five, of images that it never saw: {sum(right) / len(right):.1%}")
    print(f"Dreams of a 0: {tuple(life.dream('0', 64).shape)}, made by a memory of {life.memory_bytes_for(0):,} bytes")


if __name__ == "__main__":
    main()
