"""A head for classes in an order, such as age bins."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CornHead(nn.Module):
    """Asks of each class but the last: is the answer beyond it, given that it is not before it?

    CORN, Shi, Cao and Raschka 2023 (arXiv:2111.08851): with f_k = sigmoid(z_k), the answer is class
    j with probability f_0 · … · f_(j-1) · (1 - f_j), and f_j is 0 for the last class. The head
    gives the logarithms of these probabilities, whose softmax are they; so everything that takes
    logits takes them, and their cross entropy is the paper's loss but for its scale: the paper
    divides by the number of questions asked, not of photos.
    """

    def __init__(self, num_features: int, num_classes: int) -> None:
        super().__init__()
        # The name is part of the keys in checkpoints.
        self.questions = nn.Linear(num_features, num_classes - 1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, ``num_features``) → (B, n) float32 log probabilities."""
        return log_probabilities(self.questions(features).float())


def log_probabilities(z: Tensor) -> Tensor:
    """(B, n - 1) logits of "beyond class k, given not before it" → (B, n) log probabilities."""
    nothing = torch.zeros_like(z[:, :1])
    # log(f_0 · … · f_(j-1)): nothing has to be passed on the way to the first class.
    reached = torch.cat([nothing, F.logsigmoid(z).cumsum(dim=1)], dim=1)
    # log(1 - f_j): of the last class nothing is asked, so it stays for certain.
    stays = torch.cat([F.logsigmoid(-z), nothing], dim=1)
    return reached + stays
