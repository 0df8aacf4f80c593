"""MIME types by content, as far as a file's first bytes tell; names only tell formats apart that begin alike."""

_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"%PDF-", "application/pdf"),
    (b"\x1f\x8b", "application/gzip"),
    (b"ID3", "audio/mpeg"),
    (b"OggS", "audio/ogg"),
)
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/x-wav", b"AVI ": "video/x-msvideo"}
_ZIPPED = {
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "odt": "application/vnd.oasis.opendocument.text",
}
_TEXTS = {"csv": "text/csv", "json": "application/json", "ics": "text/calendar", "css": "text/css"}
_MARKUP = (
    (b"<?xml", "text/xml"),
    (b"<!doctype html", "text/html"),
    (b"<html", "text/html"),
    (b"<svg", "image/svg+xml"),
)

READ_BYTES = 4096


def mime_type_of(head: bytes, name: str) -> str:
    """`head`: the file's first bytes, READ_BYTES of them if there are as many."""
    extension = name.rpartition(".")[2].lower()
    for signature, mime_type in _SIGNATURES:
        if head.startswith(signature):
            return mime_type
    if head.startswith(b"RIFF"):
        return _RIFF.get(head[8:12], "application/octet-stream")
    if head[4:8] == b"ftyp":
        return "image/avif" if head[8:12] == b"avif" else "image/heic" if head[8:11] == b"hei" else "video/mp4"
    if head.startswith(b"PK\x03\x04"):
        return _ZIPPED.get(extension, "application/zip")
    return _text_type(head, extension) if _is_text(head) else "application/octet-stream"


def _is_text(head: bytes) -> bool:
    if b"\x00" in head:
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 3 and len(head) >= READ_BYTES  # a character cut by our own reading
    return True


def _text_type(head: bytes, extension: str) -> str:
    start = head.lstrip()[:20].lower()
    if start.startswith(b"<?xml") and b"<svg" in head:
        return "image/svg+xml"
    for opening, mime_type in _MARKUP:
        if start.startswith(opening):
            return mime_type
    return _TEXTS.get(extension, "text/plain")
