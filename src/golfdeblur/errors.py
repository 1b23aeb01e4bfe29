"""The errors a user can cause. Each message says what was given, what is allowed and what to do."""


class GolfError(Exception):
    """Base of every error that the command reports as one sentence."""

    exit_code = 1


class ImageError(GolfError):
    """A picture cannot be read, understood or written."""


class WeightsError(GolfError):
    """A model is unknown, incomplete or does not match its checksum."""


class ConfigError(GolfError):
    """A setting is unknown or out of its range."""


class DataError(GolfError):
    """A folder of training or test images is not as it must be."""


class LeftOutWarning(UserWarning):
    """Something beside the pixels could not be kept in a result."""


class Interrupted(GolfError):  # noqa: N818 (like KeyboardInterrupt)
    """A signal ended the work; what was done is kept."""

    exit_code = 130
