"""Where a page of conversations ends: the cursor that names its last one."""

from modelbay.errors import InvalidRequestError

Place = tuple[float, str] | tuple[()]


def after(cursor: str | None) -> Place:
    """When the last one seen was used, and its id; empty at the beginning.

    Raises:
        InvalidRequestError: No page ever ended there.
    """
    if cursor is None:
        return ()
    used, slash, seen = cursor.partition("/")
    try:
        place = (float.fromhex(used), seen)
    except (ValueError, OverflowError):
        raise bad_cursor() from None
    if not slash:
        raise bad_cursor()
    return place


def cursor(used_at: float, conversation_id: str) -> str:
    return f"{used_at.hex()}/{conversation_id}"


def bad_cursor() -> InvalidRequestError:
    return InvalidRequestError(
        "this cursor was not given by the page before", hint="start without a cursor"
    )
