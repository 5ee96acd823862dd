"""Runs kernels as the chip would: the RV32IMC machine code that the viper compiler emits, in an emulated processor.

    push = rv32.load("kernels")["push"]
    push(array("i", [1, 2]), 0, 2, 7)       # buffers are changed in place
    push.instructions, push.helpers      # of that call; what the runtime's helpers take is not in the instructions

No MicroPython runs: the few structures that the code reads are laid out by hand, and each entry of its table of
runtime functions is a trap, where Python does the work of those that kernels need. Numbers of formats come from
MicroPython 1.29 (.mpy 6.3); the file that defines them stands beside them.
"""

from __future__ import annotations

import ast
import struct
from array import array
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import unicorn
from qres_host import native, viper
from qres_host.deploy import compile_mpy
from unicorn import riscv_const as reg

# py/persistentcode.h: version, sub-version and architecture in the head of an .mpy; kinds of constant objects
HEAD, RV32IMC = b"M\x06", 11 << 2 | 3
FUN_TABLE, NONE, ELLIPSIS, STR, BYTES, TUPLE = 0, 1, 4, 5, 6, 10
# py/emitglue.h: kinds of code, less MP_CODE_BYTECODE
BYTECODE, NATIVE, VIPER = 0, 1, 2
# py/runtime0.h: types at the border of native code (4 and above are pointers), low bits of a flag word
OBJECT, BOOL, INT, UINT, POINTER = range(5)
# py/nativeglue.h: indices of the table of runtime functions
TABLE_SIZE = 50
K_NONE, K_FALSE, K_TRUE, TO_NATIVE, TO_OBJECT, SWAP_GLOBALS = range(6)
LOAD_GLOBAL, CALL, ARGUMENT_CHECK, FLOOR_DIVIDE, MODULO = 7, 27, 44, 46, 47
NONE_WORD, FALSE_WORD, TRUE_WORD = 6, 14, 30  # py/obj.h: immediate objects

PAGE = 0x1000
TRAPS, DATA, STACK, CODE, BUFFERS, HANDLES = 0x1000, 0x10000, 0x40000, 0x100000, 0x10000000, 0xC0000000
DATA_BYTES, STACK_BYTES = 0x20000, 0x10000
ARGUMENTS, EXIT = DATA + DATA_BYTES - PAGE, TRAPS + 4 * TABLE_SIZE
JUMP_T0 = b"\x82\x82"  # c.jr t0: what every trap holds
LIMIT = 200_000_000
"""Instructions after which a call counts as endless."""


class Program(NamedTuple):
    """What an .mpy holds: its names, its constants (None for the table of functions) and its viper code in order."""

    names: list[str]
    constants: list[Any]
    code: list[bytes]


class Reader:
    """Reads an .mpy, as py/persistentcode.c does; ValueError for what is none."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def program(self) -> Program:
        """The whole file."""
        if self.take(2) != HEAD or self.take(1)[0] not in (0, RV32IMC):  # 0: bytecode alone
            raise ValueError("no rv32imc code of .mpy version 6.3")
        self.take(1)  # width of small integers
        names, constants = self.number(), self.number()
        found = Program([self.name() for _ in range(names)], [self.constant() for _ in range(constants)], [])
        self.code(found.code)
        return found

    def take(self, count: int) -> bytes:
        """The next bytes."""
        self.at += count
        if self.at > len(self.data):
            raise ValueError("truncated .mpy")
        return self.data[self.at - count : self.at]

    def number(self) -> int:
        """An unsigned number, seven bits a byte, the highest first."""
        value = 0
        while True:
            byte = self.take(1)[0]
            value = value << 7 | byte & 0x7F
            if byte < 128:
                return value

    def name(self) -> str:
        """A name; one that every MicroPython knows is only a number, and reads "#number" here."""
        size = self.number()
        return f"#{size >> 1}" if size & 1 else self.take((size >> 1) + 1)[:-1].decode()

    def constant(self) -> Any:
        """A constant; numbers that are no small integers stay text, kernels use none."""
        kind = self.take(1)[0]
        if kind == FUN_TABLE:
            return None
        if kind <= ELLIPSIS:
            return (False, True, ...)[kind - 2] if kind > NONE else ()
        size = self.number()
        if kind == TUPLE:
            return tuple(self.constant() for _ in range(size))
        return self.take(size + (kind in (STR, BYTES)))

    def code(self, found: list[bytes]) -> None:
        """One function and those inside it; collects viper code in the order of the source."""
        head = self.number()
        code = self.take(head >> 3)
        if head & 3 == VIPER:
            if self.number() & 0x70:
                raise ValueError("code with relocations")
            found.append(code)
        elif head & 3 == NATIVE:
            self.number()
        elif head & 3 != BYTECODE:
            raise ValueError("assembler")
        if head & 4:
            for _ in range(self.number()):
                self.code(found)


def signed(word: int) -> int:
    """A 32-bit word as a signed number."""
    return ((word & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000


def floor_divide(a: int, b: int) -> int:
    """mp_small_int_floor_divide (py/smallint.c); ZeroDivisionError."""
    if (a < 0) != (b < 0):
        a = signed(a + (1 - b if a < 0 else -b - 1))
        return -(abs(a) // abs(b))
    return abs(a) // abs(b)


class Machine:
    """A processor whose memory holds the kernels of some modules, which call each other by name."""

    def __init__(self, programs: Sequence[tuple[Program, list[str]]]) -> None:
        """Each program comes with the names of its kernels, in order."""
        self.instructions = 0
        self.helpers = 0  # calls of the runtime
        self.objects: dict[int, Any] = {}  # handle -> buffer argument of the running call
        self.places: dict[int, int] = {}  # handle -> its address in the machine
        self.sizes: dict[tuple[int, int], int] = {}  # block -> instructions in it
        self.functions: dict[str, int] = {}  # name -> address of its function object
        self.entries: dict[int, int] = {}  # function object -> its code
        self.names: list[str] = []
        self.text = b""
        self.uc = unicorn.Uc(unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV32)
        data = self._table()
        for program, kernels in programs:
            data = self._place(data, program, kernels)
        if DATA + len(data) > ARGUMENTS:
            raise ValueError("the tables do not fit")
        pages = -(-len(self.text) // PAGE) * PAGE
        for base, size in ((TRAPS, PAGE), (DATA, DATA_BYTES), (STACK, STACK_BYTES), (CODE, pages)):
            self.uc.mem_map(base, size)
        self.uc.mem_write(TRAPS, JUMP_T0 * 2 * (TABLE_SIZE + 1))
        self.uc.mem_write(DATA, data)
        self.uc.mem_write(CODE, self.text)
        self.uc.hook_add(unicorn.UC_HOOK_BLOCK, self._count, begin=CODE, end=CODE + len(self.text) - 1)
        self.uc.hook_add(unicorn.UC_HOOK_CODE, self._trap, begin=TRAPS, end=EXIT - 1)

    def _table(self) -> bytes:
        words = [TRAPS + 4 * i for i in range(TABLE_SIZE)]
        words[K_NONE : K_TRUE + 1] = NONE_WORD, FALSE_WORD, TRUE_WORD
        return struct.pack(f"<{TABLE_SIZE}I", *words)

    def _place(self, data: bytes, program: Program, kernels: list[str]) -> bytes:
        """`data` with the tables of one module behind it; its code goes to the end of the text."""
        if len(kernels) != len(program.code):
            raise ValueError("the kernels and the compiled functions differ in number")
        if set(kernels) & set(self.functions):
            raise ValueError("kernels that call each other need different names")
        context = DATA + len(data)  # mp_module_context_t: type, globals, names, constants
        objects = context + 16  # mp_obj_fun_bc_t: type, context, children, code
        constants = objects + 16 * len(kernels)
        names = constants + 4 * len(program.constants)
        words = [0, DATA, names, constants]
        for i, (name, code) in enumerate(zip(kernels, program.code)):
            words += [0, context, 0, CODE + len(self.text)]
            self.functions[name] = objects + 16 * i
            self.entries[objects + 16 * i] = CODE + len(self.text)
            self.text += code + bytes(-len(code) % 4)
        words += [DATA if value is None else NONE_WORD for value in program.constants]
        numbers = range(len(self.names), len(self.names) + len(program.names))
        self.names += program.names
        table = struct.pack(f"<{len(numbers)}H", *numbers)
        return data + struct.pack(f"<{len(words)}I", *words) + table + bytes(-len(table) % 4)

    def _count(self, uc: Any, address: int, size: int, _: Any) -> None:
        """Before each basic block: count its instructions; one of 32 bits ends in 0b11."""
        if (address, size) not in self.sizes:
            at, count = address - CODE, 0
            while at < address - CODE + size:
                at += 4 if self.text[at] & 3 == 3 else 2
                count += 1
            self.sizes[address, size] = count
        self.instructions += self.sizes[address, size]
        if self.instructions > LIMIT:
            raise RuntimeError(f"more than {LIMIT} instructions")

    def _trap(self, uc: Any, address: int, size: int, _: Any) -> None:
        """A function of the runtime is called: do its work and go on behind the call."""
        a, b, c = (uc.reg_read(r) for r in (reg.UC_RISCV_REG_A0, reg.UC_RISCV_REG_A1, reg.UC_RISCV_REG_A2))
        result, target = a, uc.reg_read(reg.UC_RISCV_REG_RA)
        index = (address - TRAPS) // 4
        self.helpers += index != CALL  # of a kernel: it is counted itself
        if index == TO_NATIVE:
            result = self._native(a, b & 15)
        elif index == TO_OBJECT:
            result = self._object(a, b & 15)
        elif index == FLOOR_DIVIDE:
            result = floor_divide(signed(a), signed(b))
        elif index == MODULO:
            result = signed(a) % signed(b)
        elif index == SWAP_GLOBALS:
            result = 0  # they did not change
        elif index == LOAD_GLOBAL:
            result = self.functions[self.names[a]]
        elif index == CALL and a in self.entries:  # function, counts of arguments, their array: jump on, do not return
            target = self.entries[a]
            uc.reg_write(reg.UC_RISCV_REG_A1, b & 0xFF)
            uc.reg_write(reg.UC_RISCV_REG_A2, b >> 8 & 0xFF)
            uc.reg_write(reg.UC_RISCV_REG_A3, c)
        elif index == ARGUMENT_CHECK:
            raise TypeError(f"{a} arguments given, {c >> 17} expected")
        else:
            raise NotImplementedError(f"function {index} of py/nativeglue.h")
        uc.reg_write(reg.UC_RISCV_REG_A0, result & 0xFFFFFFFF)
        uc.reg_write(reg.UC_RISCV_REG_T0, target)

    def _native(self, word: int, kind: int) -> int:
        """mp_native_from_obj: an object as a number, or the address of a buffer."""
        if kind >= POINTER and word in self.places:
            return self.places[word]
        if kind in (INT, UINT) and word & 1:
            return signed(word) >> 1
        raise TypeError(f"object {word:#x} as native type {kind}")

    def _object(self, word: int, kind: int) -> int:
        """mp_native_to_obj: a number as a small integer; OverflowError where the chip would take heap for it."""
        value = signed(word)
        if kind != INT or not -1 << 30 <= value < 1 << 30:
            raise OverflowError(f"{value} of native type {kind} is no small integer")
        return value << 1 | 1

    def call(self, name: str, arguments: Sequence[Any]) -> int:
        """Run one kernel on numbers and buffers; what it writes is in the buffers then."""
        self.instructions = self.helpers = 0
        words, mapped = [], []
        try:
            for value in arguments:
                if isinstance(value, int):
                    if not -1 << 30 <= value < 1 << 30:
                        raise OverflowError(f"{value} is no small integer")
                    words.append((value << 1 | 1) & 0xFFFFFFFF)
                    continue
                known = [handle for handle, held in self.objects.items() if held is value]
                handle = known[0] if known else HANDLES + 16 * len(self.objects)
                words.append(handle)
                if not known:
                    mapped.append(self._map(handle, value))
            result = self._run(name, words)
            for handle in self.objects:
                view = memoryview(self.objects[handle]).cast("B")
                after = bytes(self.uc.mem_read(self.places[handle], len(view)))
                if after != bytes(view):
                    view[:] = after
            return result
        finally:
            for base, size in mapped:
                self.uc.mem_unmap(base, size)
            self.objects, self.places = {}, {}

    def _map(self, handle: int, value: Any) -> tuple[int, int]:
        """Put a buffer into memory of its own, ending where that ends: an access behind it fails."""
        data = bytes(memoryview(value).cast("B"))
        size = max(-(-len(data) // PAGE) * PAGE, PAGE)
        base = max(self.places.values(), default=BUFFERS) // PAGE * PAGE + 0x100000
        self.uc.mem_map(base, size)
        self.places[handle] = (base + size - len(data)) & ~3
        self.objects[handle] = value
        self.uc.mem_write(self.places[handle], data)
        return base, size

    def _run(self, name: str, words: list[int]) -> int:
        top = STACK + STACK_BYTES - 16
        self.uc.mem_write(ARGUMENTS, struct.pack(f"<{len(words)}I", *words))
        for register, value in (
            (reg.UC_RISCV_REG_A0, self.functions[name]),
            (reg.UC_RISCV_REG_A1, len(words)),
            (reg.UC_RISCV_REG_A2, 0),
            (reg.UC_RISCV_REG_A3, ARGUMENTS),
            (reg.UC_RISCV_REG_RA, EXIT),
            (reg.UC_RISCV_REG_SP, top),
        ):
            self.uc.reg_write(register, value)
        try:
            self.uc.emu_start(self.entries[self.functions[name]], EXIT)
        except unicorn.UcError as error:
            raise MemoryError(f"{name}: {error}") from None
        assert self.uc.reg_read(reg.UC_RISCV_REG_SP) == top, "the stack pointer is not what it was"
        return self._native(self.uc.reg_read(reg.UC_RISCV_REG_A0), INT)


class Kernel:
    """One kernel in a machine; `instructions` and `helpers` (calls of the runtime) are those of the last call."""

    def __init__(self, machine: Machine, name: str) -> None:
        self.machine = machine
        self.name = name
        self.instructions = self.helpers = 0

    def __call__(self, *arguments: int | array[int] | bytearray) -> int:
        try:
            return self.machine.call(self.name, arguments)
        finally:
            self.instructions, self.helpers = self.machine.instructions, self.machine.helpers


@cache
def written(name: str) -> str:
    """How an .mpy writes a name: as it is, or "#number" when the runtime knows it."""
    unknown = "a_name_that_no_runtime_knows"
    place = Reader(compile_mpy("", unknown.encode())).program().names.index(unknown)
    return Reader(compile_mpy("", name.encode())).program().names[place]


@cache
def load(name: str) -> dict[str, Kernel]:
    """The kernels of qres.<name>, with those of other modules that they call."""
    waiting, programs = [name], {}
    while waiting:
        module = waiting.pop()
        tree = ast.parse(viper.source_path(module).read_text(encoding="utf-8"))
        kernels = [kernel.name for kernel in viper.kernels_of(tree)]
        program = Reader(native.rv32(module)).program()
        known = {written(kernel): kernel for kernel in [*kernels, *viper.foreign_kernels(tree)]}
        named = program._replace(names=[known.get(item, item) for item in program.names])
        programs[module] = (named, kernels)
        waiting += [owner for owner, _ in viper.foreign_kernels(tree).values() if owner not in programs]
    machine = Machine(list(programs.values()))
    return {kernel: Kernel(machine, kernel) for kernel in programs[name][1]}
