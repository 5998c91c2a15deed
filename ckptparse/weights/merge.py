"""Several mappings as one."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from ckptparse.errors import ConflictError
from ckptparse.tensors.info import TensorInfo
from ckptparse.tensors.mapping import PIECE_NBYTES, Role, TensorMapping
from ckptparse.tensors.names import not_found, require_names
from ckptparse.tensors.numpy_index import Index
from ckptparse.tensors.pieces import Piece, is_last
from ckptparse.weights.inputs import as_tensor_mapping, label, own_origin, require_same_form
from ckptparse.weights.selection import info_each, select

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Merge(TensorMapping):
    """All tensors of several mappings; made by `ckptparse.merge`.

    Each access reads the tensor from the mapping that provides it; nothing is cached.

    Examples:
        >>> import numpy as np
        >>> from ckptparse import merge
        >>> merged = merge({"a": np.zeros(2)}, {"b": np.ones(2)})
        >>> merged
        <Merge of 2 mappings, 2 tensors>
        >>> merged["b"]
        array([1., 1.])
    """

    def __init__(
        self,
        mappings: Iterable[Mapping[str, Any]],
        on_conflict: Literal["error", "first", "last"] = "error",
    ) -> None:
        """Use `ckptparse.merge`.

        Args:
            mappings: mappings from names to arrays.
            on_conflict: which mapping provides a tensor that several have: "first" or "last";
                "error" raises an error.

        Raises:
            ValueError: there are no mappings.
            ConflictError: several have the same name, and `on_conflict` is "error".
            TypeError: an argument is not a mapping.
        """
        self._mappings = [
            as_tensor_mapping(mapping, number) for number, mapping in enumerate(mappings)
        ]
        if not self._mappings:
            raise ValueError("there is nothing to merge: no mappings")
        self._providers: dict[str, int] = {}
        self._holders: dict[str, list[int]] = {}
        """Names in several mappings -> the positions of these mappings."""
        for number, mapping in enumerate(self._mappings):
            for name in mapping:
                first = self._providers.setdefault(name, number)
                if first == number:
                    continue
                if on_conflict == "error":
                    raise self._conflict(name, first, number)
                self._holders.setdefault(name, [first]).append(number)
        if on_conflict == "last":
            self._providers.update({name: held[-1] for name, held in self._holders.items()})

    def _conflict(self, name: str, first: int, second: int) -> ConflictError:
        """Return the error for a name in two mappings."""
        places = [label(self._mappings, number, name) for number in (first, second)]
        return ConflictError(
            "several mappings have a tensor of this name"
            ' (on_conflict="first" or "last", --on-conflict first: takes one of them)',
            tensor=name,
            expected="each name in one mapping",
            found=f"the name in {places[0]} and in {places[1]}",
        )

    def _provider(self, name: str) -> int:
        """Return the position of the mapping that provides a tensor.

        Raises:
            TensorNotFoundError: there is no such tensor.
        """
        try:
            return self._providers[name]
        except KeyError:
            raise not_found("no such tensor in the merge", name, self._providers) from None

    def _checked_provider(self, name: str) -> int:
        """Return the position of the mapping that provides a tensor.

        Raises:
            TensorNotFoundError: there is no such tensor.
            ConflictError: several mappings have it, with different shapes or dtypes.
        """
        provider = self._provider(name)
        holders = self._holders.get(name, [])
        forms = []
        for number in holders:
            info = self._mappings[number].info(name)
            forms.append((info.tensorflow_dtype, info.shape))
            pair = holders[0], number
            require_same_form(self._mappings, pair, name, (forms[0], forms[-1]))
        return provider

    def __iter__(self) -> Iterator[str]:
        return iter(self._providers)

    def __len__(self) -> int:
        return len(self._providers)

    def __contains__(self, name: object) -> bool:
        return name in self._providers

    def read(self, name: str, index: Index = ...) -> NDArray[Any]:
        """Return a tensor, or the part of it that a numpy index takes.

        Args:
            name: name of a tensor.
            index: anything that numpy accepts between square brackets (``np.s_[:, :, 0]``).

        Returns:
            The array, as `read` of the mapping that provides it returns it.

        Raises:
            TensorNotFoundError: there is no such tensor.
            ConflictError: several mappings have it, with different shapes or dtypes.
            IndexError: the index does not fit the shape.
            CheckpointError: reading the mapping failed.

        Examples:
            >>> import numpy as np
            >>> from ckptparse import merge
            >>> merge({"a": np.arange(3)}, {"b": np.arange(5)}).read("b", np.s_[3:])
            array([3, 4])
        """
        return self._mappings[self._checked_provider(name)].read(name, index)

    def read_each(self, names: Iterable[str]) -> Iterator[tuple[str, NDArray[Any]]]:
        """Yield (name, array) of several tensors; each is read when the loop reaches it.

        Each mapping is read in one loop over its names, in the order of `names`.

        Args:
            names: names of tensors, each once.

        Yields:
            The name and the array, as `read` returns it.

        Raises:
            TensorNotFoundError: there is no such tensor.
            ConflictError: several mappings have a tensor, with different shapes or dtypes.
            CheckpointError: reading a mapping failed.
            TypeError: `names` is a string.

        Examples:
            >>> import numpy as np
            >>> from ckptparse import merge
            >>> merged = merge({"a": np.zeros(2), "c": np.zeros(1)}, {"b": np.ones(2)})
            >>> [name for name, array in merged.read_each(["c", "b", "a"])]
            ['c', 'b', 'a']
        """
        order, by_provider = self._by_provider(names)
        loops = {
            number: self._mappings[number].read_each(its_names)
            for number, its_names in by_provider.items()
        }
        for number in order:
            yield next(loops[number])

    def read_pieces(
        self, names: Iterable[str], piece_nbytes: int = PIECE_NBYTES
    ) -> Iterator[Piece]:
        """Yield several tensors piece by piece; each piece is read when the loop reaches it.

        Each mapping is read in one loop over its names, in the order of `names`.

        Args:
            names: names of tensors, each once.
            piece_nbytes: the maximum number of bytes of a piece; a piece has at least one element.

        Yields:
            The pieces of the first tensor in order, then those of the second, and so on.

        Raises:
            TensorNotFoundError: there is no such tensor.
            ConflictError: several mappings have a tensor, with different shapes or dtypes.
            CheckpointError: reading a mapping failed.
            TypeError: `names` is a string.

        Examples:
            >>> import numpy as np
            >>> from ckptparse import merge
            >>> merged = merge({"a": np.zeros(2)}, {"b": np.ones(2)})
            >>> [(piece.name, piece.start) for piece in merged.read_pieces(merged, 8)]
            [('a', 0), ('a', 1), ('b', 0), ('b', 1)]
        """
        order, by_provider = self._by_provider(names)
        loops = {
            number: self._mappings[number].read_pieces(its_names, piece_nbytes)
            for number, its_names in by_provider.items()
        }
        for number in order:
            for piece in loops[number]:
                yield piece
                if is_last(piece):
                    break

    def info(self, name: str) -> TensorInfo:
        """Return the metadata of a tensor.

        Args:
            name: name of a tensor.

        Returns:
            The result of `info` of the mapping that provides the tensor.

        Raises:
            TensorNotFoundError: there is no such tensor.
            ConflictError: several mappings have it, with different shapes or dtypes.

        Examples:
            >>> import numpy as np
            >>> from ckptparse import merge
            >>> merge({"a": np.zeros(2)}, {"b": np.ones(3)}).info("b").shape
            (3,)
        """
        return self._mappings[self._checked_provider(name)].info(name)

    def infos(self) -> list[TensorInfo]:
        """Return the metadata of all tensors.

        Returns:
            The result of `info` for each name, in the order of names.

        Raises:
            ConflictError: several mappings have a tensor, with different shapes or dtypes.

        Examples:
            >>> import numpy as np
            >>> from ckptparse import merge
            >>> [info.shape for info in merge({"a": np.zeros(2)}, {"b": np.ones(3)}).infos()]
            [(2,), (3,)]
        """
        order, by_provider = self._by_provider(self)
        loops = {
            number: info_each(self._mappings[number], its_names)
            for number, its_names in by_provider.items()
        }
        return [next(loops[number]) for number in order]

    def origin(self, name: str) -> tuple[TensorMapping, str]:
        """Return the mapping that provides a tensor, and the tensor's name in it.

        Args:
            name: name of a tensor.

        Returns:
            The mapping and `name`; if it is not a `TensorMapping` (a dict, for example): this merge
            and `name`.

        Raises:
            TensorNotFoundError: there is no such tensor.

        Examples:
            >>> from ckptparse import merge, open_checkpoint
            >>> ckpt = open_checkpoint("fixtures/tf-1.15.5/vgg_16/model.ckpt")
            >>> merge(ckpt, {"x": 1.0}).origin("global_step") == (ckpt, "global_step")
            True
        """
        return own_origin(self, self._mappings[self._provider(name)], name)

    def fingerprint(self, name: str) -> Hashable | None:
        """Return the stored checksums of a tensor in the mapping that provides it.

        Args:
            name: name of a tensor.

        Returns:
            The result of that mapping; see `TensorMapping.fingerprint`.

        Raises:
            TensorNotFoundError: there is no such tensor.
            ConflictError: several mappings have it, with different shapes or dtypes.

        Examples:
            >>> from ckptparse import merge, open_checkpoint
            >>> ckpt = open_checkpoint("fixtures/tf-1.15.5/vgg_16/model.ckpt")
            >>> merge(ckpt).fingerprint("global_step") == ckpt.fingerprint("global_step")
            True
        """
        return self._mappings[self._checked_provider(name)].fingerprint(name)

    def _by_provider(self, names: Iterable[str]) -> tuple[list[int], dict[int, list[str]]]:
        """Return the provider of each name, and the names of each provider."""
        order: list[int] = []
        by_provider: dict[int, list[str]] = {}
        for name in require_names(names):
            number = self._checked_provider(name)
            order.append(number)
            by_provider.setdefault(number, []).append(name)
        return order, by_provider

    select = select

    def roles(self) -> dict[str, Role]:
        """Return the roles of tensors, as the graphs of the mappings that provide them define them.

        Returns:
            Name -> role, as for `Checkpoint.roles`.

        Raises:
            CheckpointError: reading a graph failed.

        Examples:
            >>> from ckptparse import merge, open_checkpoint
            >>> ckpt = open_checkpoint("fixtures/tf-1.15.5/training_graph/model.ckpt")
            >>> merge(ckpt, {"x": 1.0}).roles()["conv/kernel/Adam"]
            'state'
        """
        roles = [mapping.roles() for mapping in self._mappings]
        return {
            name: roles[number][name]
            for name, number in self._providers.items()
            if name in roles[number]
        }

    def __repr__(self) -> str:
        return f"<Merge of {len(self._mappings)} mappings, {len(self)} tensors>"
