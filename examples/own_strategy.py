"""A strategy of one's own, which is a single function, beside MyGO.

python examples/own_strategy.py
"""

import torch

import mygo
from mygo import Examples, Learner, PhaseContext, Task
from mygo.wake import learn


def scaled_heads(life: Learner, task: Task, data: Examples, context: PhaseContext) -> None:
    """Learn the task's head as MyGO does awake, then give all heads outputs of one scale, since nothing else will."""
    learn(life, task, data, context)
    with torch.no_grad():
        for head in life.neocortex.classifiers:
            norm = head.get_parameter("weight").norm(dim=1).mean()
            head.get_parameter("weight").div_(norm)
            head.get_parameter("bias").div_(norm)


def main() -> None:
    """Live through digits in five tasks of two classes, with and without sleep."""
    torch.set_num_threads(1)  # more are slower on images of 8×8
    mygo.use_strategy("scaled-heads", scaled_heads)
    config = mygo.ExperimentConfig(strategies=("mygo", "scaled-heads"), life=mygo.preset("digits"))
    results = mygo.Experiment(config).run()["strategies"]
    for name in config.strategies:
        print(f"{name}: {results[name]['average_accuracy']['class_il']:.1%} right among all ten")


if __name__ == "__main__":
    main()
