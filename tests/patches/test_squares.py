import torch
import torch.nn.functional as F

from fashionvl.patches.squares import squares

MEAN, STD = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.3, 0.4])


def test_squares_are_normalised_patches_row_by_row():
    pictures = torch.randint(0, 256, (2, 3, 8, 12), dtype=torch.uint8)
    cut = squares(pictures, side=4, mean=MEAN, std=STD)
    assert cut.shape == (2, 6, 48)
    normal = (pictures / 255 - MEAN[:, None, None]) / STD[:, None, None]
    assert torch.allclose(cut[1, 4].view(3, 4, 4), normal[1, :, 4:, 4:8], atol=1e-6)


def test_a_linear_layer_over_squares_is_a_convolution_over_the_picture():
    pictures = torch.randint(0, 256, (2, 3, 8, 12), dtype=torch.uint8)
    weight = torch.randn(5, 3, 4, 4)
    normal = (pictures / 255 - MEAN[:, None, None]) / STD[:, None, None]
    expected = F.conv2d(normal, weight, stride=4).flatten(2).transpose(1, 2)
    assert torch.allclose(squares(pictures, side=4, mean=MEAN, std=STD) @ weight.flatten(1).T, expected, atol=1e-4)
