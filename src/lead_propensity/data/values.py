"""SQL expressions that read texts, times and numbers in whatever form a table holds them."""

from lead_propensity.data.engine import literal

_DATE = r"\d{4}[-/]\d{1,2}[-/]\d{1,2}"
_CLOCK = r"[T ]\d{1,2}:\d\d(:\d\d([.]\d+)?)?"
_ZONE = r"(Z| ?UTC|[+-](0\d|1[0-4])(:?[0-5]\d)?)"
_EARLIEST, _LATEST = "1900-01-01", "2200-01-01"


def time_expression(column: str, column_type: str, zone: str | None) -> str:
    """SQL: microseconds UTC of a time in any declared form, NULL where it is unreadable.

    A time without a zone is read in `zone`; dates are midnights. A text must be an ISO time as a whole:
    half of one, such as the time before an unknown zone, would be another time.
    """
    text = _time_text(column)
    zoned = f"TRY(epoch_us(timezone({literal(zone or 'UTC')}, TRY_CAST({{}} AS TIMESTAMP))))"
    absolute = "TRY(epoch_us(TRY_CAST({} AS TIMESTAMPTZ)))"
    if has_zone(column_type):
        instant = absolute.format(column)
    elif column_type == "VARCHAR":
        instant = (
            f"CASE WHEN {is_zoneless(column, column_type)} THEN {zoned.format(text)} "
            f"WHEN regexp_full_match({text}, {literal(_DATE + _CLOCK + _ZONE)}) THEN {absolute.format(text)} END"
        )
    elif is_time(column_type):
        instant = zoned.format(column)
    else:
        return "NULL::BIGINT"
    low, high = (f"epoch_us(TIMESTAMP '{limit}')" for limit in (_EARLIEST, _LATEST))
    return (
        f"(SELECT CASE WHEN us BETWEEN {low} AND {high} THEN us END FROM (SELECT {instant} AS us))"
    )


def is_time(column_type: str) -> bool:
    return column_type in ("VARCHAR", "DATE") or column_type.startswith("TIMESTAMP")


def has_zone(column_type: str) -> bool:
    return column_type.startswith("TIMESTAMPTZ") or column_type.endswith("WITH TIME ZONE")


def is_zoneless(column: str, column_type: str) -> str:
    """SQL: whether the value is a date, or a time without its zone."""
    if column_type != "VARCHAR":
        return "false" if has_zone(column_type) else f"{column} IS NOT NULL"
    return f"regexp_full_match({_time_text(column)}, {literal(f'{_DATE}({_CLOCK})?')})"


def _time_text(column: str) -> str:
    """SQL: without blanks around it or before its offset, and with capitals: `... 10:00 +0200`, `...z`."""
    return f"regexp_replace(upper(trim({column})), ' ([+-])', '\\1')"


def number_expression(column: str) -> str:
    """SQL: a finite DOUBLE below 1e15 in size, NULL where the value is none."""
    number = f"SELECT TRY_CAST({column} AS DOUBLE) AS x"
    return f"(SELECT CASE WHEN isfinite(x) AND abs(x) < 1e15 THEN x END FROM ({number}))"


def key_expression(column: str, column_type: str) -> str:
    """SQL: an id as text. Ids in a float column, as pandas writes whole numbers with gaps, lose their `.0`."""
    text = f"CAST({column} AS VARCHAR)"
    return f"regexp_replace({text}, '[.]0$', '')" if column_type in ("FLOAT", "DOUBLE") else text
