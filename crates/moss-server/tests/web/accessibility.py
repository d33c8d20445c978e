"""The page as a screen reader gets it: Chromium's own accessibility tree."""

# What a user acts on, moves to, or reads a value from: without a name its role alone would be read out.
NAMED = {"alertdialog", "article", "button", "combobox", "dialog", "group", "image", "link", "main", "meter", "navigation", "region", "searchbox", "slider", "switch", "textbox"}


class Node:
    def __init__(self, raw, depth):
        value = lambda part: (raw.get(part) or {}).get("value")
        self.role, self.name, self.value = value("role"), (value("name") or "").strip(), value("value")
        self.description = value("description") or ""
        self.states = {state["name"]: state["value"].get("value") for state in raw.get("properties", [])}
        self.depth = depth

    def __repr__(self):
        return f"{self.role} {self.name!r} {self.states}"


class Tree(list):
    """What there is to read, in the order of reading."""

    def __init__(self, page):
        session = page.context.new_cdp_session(page)
        raw = session.send("Accessibility.getFullAXTree")["nodes"]
        session.detach()
        by_id = {node["nodeId"]: node for node in raw}

        def walk(node, depth):
            if not node.get("ignored"):
                self.append(Node(node, depth))
            for child in node.get("childIds", []):
                if child in by_id:
                    walk(by_id[child], depth + 1)

        super().__init__()
        walk(raw[0], 0)

    def all(self, role, name=None):
        return [node for node in self if node.role == role and name in (None, node.name)]

    def one(self, role, name=None):
        found = self.all(role, name)
        assert len(found) == 1, f"{role} {name!r}: {found or list(self)}"
        return found[0]

    def text(self, top):
        """What is read of a node and all below it, piece by piece."""
        rest = self[self.index(top) + 1 :]
        end = next((at for at, node in enumerate(rest) if node.depth <= top.depth), len(rest))
        return [node.name for node in rest[:end] if node.role == "StaticText" and node.name]

    def nameless(self):
        return [node for node in self if node.role in NAMED and not node.name]

    def focused(self):
        return next((node for node in self if node.states.get("focused") and node.role != "RootWebArea"), None)
