"""How cost grows with the number of pictures."""

from benchmarks.scale import Cost, table


def cost(images: int, seconds: float, mib: float) -> Cost:
    return Cost(stage="prepare", images=images, seconds=seconds, cpu_s=2 * seconds, peak_mib=mib)


def test_each_size_is_a_row_and_growth_is_shown() -> None:
    lines = list(table([cost(1_000, 1.0, 400), cost(10_000, 5.0, 409)]))
    assert "| `prepare` | 1,000 | 1.0 | 1.000 | 2.000 | 400 |" in lines
    assert "| `prepare` | 10,000 | 5.0 | 0.500 | 1.000 | 409 |" in lines
    assert lines[-1] == (
        "* `prepare`, from 1,000 to 10,000: time per picture × 0.50, processor time × 0.50; "
        "1.0 KiB of memory for each picture more"
    )


def test_one_size_says_nothing_of_growth() -> None:
    assert list(table([cost(1_000, 1.0, 400)]))[-1] == ""
