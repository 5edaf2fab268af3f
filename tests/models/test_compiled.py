"""Compiling where machine code cannot be kept."""

from models import compiled as compiled_module


def test_without_a_place_for_the_machine_code_it_is_compiled_each_time(monkeypatch):
    compile_ = compiled_module.numba.njit

    def refuse(*args, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return compile_(*args, **options)

    monkeypatch.setattr(compiled_module.numba, "njit", refuse)
    assert compiled_module.compiled(lambda x: x + 1)(2) == 3
