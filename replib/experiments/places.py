"""Where the papers measure: (data set, architecture) in their words."""

CIFAR10, CIFAR100, TINY = ("CIFAR-10", "ResNet-18"), ("CIFAR-100", "ResNet-18"), ("Tiny-ImageNet", "ResNet-18")
VGG10, VGG100 = ("CIFAR-10", "VGG-16"), ("CIFAR-100", "VGG-16")
WIDE = ("CIFAR-10", "WideResNet-34-10")
UNSEEN10, UNSEEN100 = ("CIFAR-10", "ResNet-50"), ("CIFAR-100", "ResNet-50")  # the unseen models of A's transfer attacks
DENSE10, DENSE_TINY = ("CIFAR-10", "DenseNet-BC"), ("Tiny-ImageNet", "DenseNet-121")
MLP_MNIST, CNN_MNIST = ("MNIST", "MLP"), ("MNIST", "CNN")
CNN10, CNN100 = ("CIFAR-10", "CNN"), ("CIFAR-100", "CNN")
SOURCE = ("ImageNet", "ResNet-50")  # where C pre-trains and prunes
TO_CIFAR10, TO_CIFAR100, TO_SVHN = ("CIFAR-10", "ResNet-50"), ("CIFAR-100", "ResNet-50"), ("SVHN", "ResNet-50")  # where C transfers to
TO_CUB, TO_VISDA = ("CUB-200", "ResNet-50"), ("VisDA17", "ResNet-50")  # and in its Figure A10
