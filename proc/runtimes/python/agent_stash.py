# SPDX-License-Identifier: Apache-2.0
"""Modules that are loaded ahead, kept aside until a program imports them.

While the server loads them, every import is noted: which module asked for which. Then they are taken out of
sys.modules, and children find them by importlib's own search (_find_spec): where the real search leads to the file
that was loaded ahead, it gets the module, and with it all that its import would have loaded. A program that brings
its own module of that name gets its own.
"""

import _warnings
import builtins
import os
import sys

import _frozen_importlib

HOOK = '''
def _find_spec(name, path, target=None):
    spec = original(name, path, target)
    if name in kept and spec is not None and getframe(1).f_code is load_code:
        return give(name, spec)
    return spec
'''


class Recorder:
    """Notes who imports whom, until stop() is called."""

    def __init__(self):
        self.wanted = {}
        self.loading = []
        self.loaded = set()
        self.first_filters = list(_warnings.filters)
        self.filters = {}
        self.original_import = builtins.__import__
        self.original_load = _frozen_importlib._find_and_load
        builtins.__import__ = self.import_
        _frozen_importlib._find_and_load = self.load

    def stop(self):
        builtins.__import__ = self.original_import
        _frozen_importlib._find_and_load = self.original_load

    def note_filters(self, name):
        """What importing @name has added to the filters of warnings."""
        known = self.first_filters + [item for items in self.filters.values() for item in items]
        added = [item for item in _warnings.filters if item not in known]
        if added:
            self.filters[name] = added

    def adopt(self, visible):
        """Some modules are put into sys.modules by others: by their packages, or by what is complete right after."""
        orphans = []
        for name in sys.modules:
            if name in visible or name.startswith("agent_"):
                continue
            if name in self.loaded:
                for orphan in orphans:
                    self.wanted.setdefault(name, {})[orphan] = None
                orphans = []
            elif name.rpartition(".")[0] in self.loaded:
                self.wanted.setdefault(name.rpartition(".")[0], {})[name] = None
            else:
                orphans.append(name)

    def note(self, importer, name):
        """An import within a function is wanted by whatever module is being loaded when it is called."""
        if importer not in self.loading:
            importer = self.loading[-1] if self.loading else None
        if importer and importer != name:
            self.wanted.setdefault(importer, {})[name] = None

    def load(self, name, import_):
        self.note(None, name)
        self.loaded.add(name)
        self.loading.append(name)
        try:
            return self.original_load(name, import_)
        finally:
            self.loading.pop()

    def import_(self, name, globals=None, locals=None, fromlist=(), level=0):
        module = self.original_import(name, globals, locals, fromlist, level)
        importer = (globals or {}).get("__name__")
        if level:
            package = globals.get("__package__") or importer
            base = package.rsplit(".", level - 1)[0] if level > 1 else package
            name = f"{base}.{name}" if name else base
        self.note(importer, name)
        for item in fromlist or ():
            self.note(importer, f"{name}.{item}")
        return module


class Loader:
    """Of a spec that stands for a module which is there already."""

    def __init__(self, stash):
        self.stash = stash

    def create_module(self, spec):
        return self.stash.kept[spec.name]

    def exec_module(self, module):
        self.stash.give_out(module)


class Stash:
    def __init__(self, recorder, visible, planned, renewals, renew):
        recorder.stop()
        recorder.adopt(visible)
        self.wanted = recorder.wanted
        self.searched = frozenset(sys.path)
        self.renewals = renewals
        self.renew = renew
        self.filters = recorder.filters
        self.set_filters(recorder.first_filters)
        self.order = {name: place for place, name in enumerate(sys.modules)}
        self.own = [sys.modules.pop(name) for name in list(sys.modules) if name.startswith("agent_")]
        self.kept = {name: sys.modules.pop(name) for name in list(sys.modules) if name not in visible}
        self.top_names = {name.partition(".")[0] for name in self.kept}
        self.specs = {name: getattr(module, "__spec__", None) for name, module in self.kept.items()}
        self.given = {}
        self.closures = {}
        together = {name for name in self.kept if name in self.needs(name.rpartition(".")[0])}
        self.attributes = dict(filter(None, map(self.detach, self.kept.keys() - together)))
        self.loader = Loader(self)
        self.plans = {name: self.plan(name) for name in planned if name in self.kept}

    @staticmethod
    def set_filters(filters):
        _warnings.filters[:] = filters
        getattr(_warnings, "_filters_mutated", getattr(_warnings, "_filters_mutated_lock_held", int))()

    def is_free(self, directories, names=None):
        """Whether no directory has what would be imported in place of what is kept."""
        names = names or self.top_names
        for directory in directories:
            if directory in self.searched:
                continue  # when these were loaded
            try:
                entries = os.listdir(directory or ".")
            except OSError:
                continue
            if not names.isdisjoint([entry.partition(".")[0] for entry in entries]):
                return False
        return True

    def detach(self, name):
        """A package has a submodule as its attribute only when that has been imported."""
        package, _, child = name.rpartition(".")
        parent = self.kept.get(package) or sys.modules.get(package)
        if parent is None or getattr(parent, "__dict__", {}).get(child) is not self.kept[name]:
            return None
        delattr(parent, child)
        return name, (parent, child)

    def install(self):
        """From here on programs find what is kept."""
        names = {
            "original": _frozen_importlib._find_spec,
            "load_code": _frozen_importlib._find_and_load_unlocked.__code__,
            "getframe": sys._getframe,
            "kept": self.kept,
            "give": self.give,
        }
        # Tracebacks leave out importlib's frames.
        exec(compile(HOOK, "<frozen importlib._bootstrap>", "exec"), names)
        _frozen_importlib._find_spec = names["_find_spec"]

    def give(self, name, found):
        spec = self.specs[name]
        if name in self.given or spec is None or spec.origin != found.origin:
            return found
        plan = self.plans[name] = self.plans.get(name) or self.plan(name)
        if not self.is_free(sys.path, plan.top_names):
            return found
        return _frozen_importlib.ModuleSpec(name, self.loader)

    def needs(self, name):
        """What importing @name loads, of what is kept."""
        if name in self.closures:
            return self.closures[name]
        seen = self.closures[name] = set()
        pending = [name]
        while pending:
            name = pending.pop()
            if name in seen:
                continue
            seen.add(name)
            pending.extend(self.wanted.get(name, ()))
            if "." in name:
                pending.append(name.rpartition(".")[0])
        seen.intersection_update(self.kept)
        return seen

    def plan(self, name):
        return Plan(self, sorted(self.needs(name), key=self.order.__getitem__))

    def give_out(self, module):
        first = module.__spec__.name
        plan = self.plans[first]
        loaded = sys.modules
        new = {name: kept for name, kept in plan.modules.items() if name == first or name not in loaded}
        loaded.update(new)
        self.given.update(new)
        for name in plan.special:
            if name in new:
                self.complete(name, new[name])
        module.__spec__ = self.specs[first]

    def complete(self, name, kept):
        if name in self.attributes:
            parent, child = self.attributes[name]
            setattr(parent, child, kept)
        if name in self.renewals:
            self.renew(name, kept)
        if name in self.filters:
            self.set_filters(self.filters[name] + _warnings.filters)

    def rehearse(self):
        """Giving a module out counts one more reference to it, in memory that has to be copied for that."""
        for plan in self.plans.values():
            list(plan.modules.values())

    def take_back(self):
        """When a program has ended: clearing these modules would take longer than the program."""
        for name, module in self.given.items():
            if sys.modules.get(name) is module:
                sys.modules[name] = None


class Plan:
    """What one import gives out, made beforehand where it is known which imports there will be."""

    def __init__(self, stash, names):
        # These names are copies, and lie side by side: giving them out counts references in few pages of memory.
        self.modules = {"".join(list(name)): stash.kept[name] for name in names}
        self.top_names = frozenset(name.partition(".")[0] for name in names)
        self.special = [
            name for name in names if name in stash.attributes or name in stash.renewals or name in stash.filters
        ]
