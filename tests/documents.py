"""Documents that ask for more than anybody should, none longer than 100 kB."""

PAGES = "images(first: 1000) { nodes { pk originalFileName url sha256 createdAt dataset { title } } }"


def chain(length: int, body: str, start: str = "{ ...F0 }") -> str:
    """Fragments that each hold the body, with the next fragment in the place of `NEXT`."""
    links = [
        f"fragment F{number} on Query {{ {body.replace('NEXT', f'...F{number + 1}')} }}" for number in range(length)
    ]
    return " ".join([start, *links, f"fragment F{length} on Query {{ untrained {{ pk }} }}"])


def doubled(depth: int) -> str:
    return "pk" if depth == 0 else f"images {{ nodes {{ dataset {{ {doubled(depth - 1)} }} }} }} " * 2


def fragments(count: int, body: str) -> str:
    return " ".join(f"fragment F{number} on Query {{ {body} }}" for number in range(count))


def spreads(count: int) -> str:
    return " ".join(f"...F{number}" for number in range(count))


def nested(count: int) -> str:
    """Fragments that meet in every object of three levels."""
    each = (
        f"fragment A{number} on Query {{ untrained {{ ...B{number} }} }} "
        f"fragment B{number} on Dataset {{ images {{ ...C{number} }} }} "
        f"fragment C{number} on ImageConnection {{ nodes {{ pk }} }}"
        for number in range(count)
    )
    return " ".join([f"{{ {' '.join(f'...A{number}' for number in range(count))} }}", *each])


HOSTILE = {
    "a fragment of itself": "{ ...A } fragment A on Query { ...A }",
    "a cycle of fragments": "{ ...A } fragment A on Query { ...B } fragment B on Query { ...C ...A } "
    "fragment C on Query { ...A ...B }",
    "a cycle through fields": "{ untrained { ...A } } fragment A on Dataset { images { nodes { dataset { ...A } } } }",
    "20 doublings": chain(20, "NEXT NEXT"),
    "60 doublings": chain(60, "NEXT NEXT"),
    "60 doublings with fields": chain(60, "untrained { pk } NEXT untrained { title } NEXT"),
    "a chain of 60": chain(60, "NEXT"),
    "a diamond of 50": chain(50, "... { NEXT } ... @include(if: true) { NEXT }"),
    "an unused chain": chain(150, "NEXT", "{ untrained { pk } }"),
    "doubled fields": f"{{ untrained {{ {doubled(7)} }} }}",
    "a field 21 times": f"{{ {'untrained { pk } ' * 21} }}",
    "a field 240 times": f"{{ {'untrained { pk } ' * 240} }}",
    "a key of 5,000 digits": f"{{ image(pk: {'9' * 5000}) {{ pk }} }}",
    "a key of 99,000 digits": f"{{ image(pk: {'9' * 99_000}) {{ pk }} }}",
    "a confidence of 5,000 digits": f"{{ images(filter: {{confidence: {{to: 0.{'9' * 5000}}}}}) {{ totalCount }} }}",
    "a representation of 5,000 digits": '{ _entities(representations: [{__typename: "Image", pk: '
    + "9" * 5000
    + "}]) { __typename } }",
    "a leaf 5000 times": f"{{ untrained {{ {'pk ' * 5000} }} }}",
    "a field 240 times in inline fragments": f"{{ {'... { untrained { pk } } ' * 240} }}",
    "a field in 60 fragments": f"{{ {spreads(60)} }} {fragments(60, 'untrained { pk title id }')}",
    "16 fragments on three levels": nested(16),
    "40 fragments on three levels": nested(40),
    "a spread 600 times": f"{{ {'...F0 ' * 600} }} {fragments(1, 'untrained { pk }')}",
    "190 unused fragments": f"{{ untrained {{ pk }} }} {fragments(190, 'untrained { pk }')}",
    "600 unknown fragments": f"{{ {spreads(600)} }}",
    "450 aliases": "{ " + " ".join(f"a{number}: untrained {{ pk }}" for number in range(450)) + " }",
    "900 directives": f"{{ untrained {{ pk {'@a ' * 900} }} }}",
    "10 unknown directives": f"{{ untrained {{ pk {'@a ' * 10} }} }}",
    "450 variables": f"query({' '.join(f'$v{number}: Int' for number in range(450))}) {{ untrained {{ pk }} }}",
    "240 variables": f"query({' '.join(f'$v{number}: Nope' for number in range(240))}) {{ untrained {{ pk }} }}",
    "600 arguments": f"{{ images({' '.join(f'a{number}: 1' for number in range(600))}) {{ totalCount }} }}",
    "an argument 240 times": f"{{ images({'first: 1 ' * 240}) {{ totalCount }} }}",
    "600 input fields": f"{{ images(filter: {{{' '.join(f'a{n}: 1' for n in range(600))}}}) {{ totalCount }} }}",
    "240 long input fields": "mutation { createDataset(input: {"
    + " ".join(f"{'a' * 300}{number}: 1" for number in range(240))
    + "}) { dataset { pk } } }",
    "lists in lists": f"{{ nodes(ids: {'[' * 190}1{']' * 190}) {{ id }} }}",
    "lists in lists without end": f"{{ nodes(ids: {'[' * 50_000}",
    "600 lists": f"{{ nodes(ids: [{'[1] ' * 600}]) {{ id }} }}",
    "1900 numbers": f"{{ nodes(ids: [{'1 ' * 1900}]) {{ id }} }}",
    "objects in objects": f"{{ images(filter: {'{a: ' * 190}1{'}' * 190}) {{ totalCount }} }}",
    "a long text": f'{{ node(id: "{"a" * 99_000}") {{ id }} }}',
    "a long text for a number": f'{{ images(first: "{"a" * 99_000}") {{ totalCount }} }}',
    "a text of escapes": f'{{ node(id: "{chr(92)}n{f"{chr(92)}u0041" * 16_000}") {{ id }} }}',
    "a block text of lines": f'{{ node(id: """{("c" + chr(10)) * 49_000}""") {{ id }} }}',
    "a block text of nothing": f'{{ node(id: """{chr(10) * 98_000}""") {{ id }} }}',
    "a block text of spaces": f'{{ node(id: """{(" " * 50 + "a" + chr(10)) * 1900}""") {{ id }} }}',
    "many block texts": "{ nodes(ids: [" + '"""a\n b""" ' * 1900 + "]) { id } }",
    "a long number": f"{{ images(first: {'9' * 99_000}) {{ totalCount }} }}",
    "a long fraction": f"{{ images(filter: {{confidence: {{from: 0.{'9' * 99_000}}}}}) {{ totalCount }} }}",
    "a large exponent": "{ images(filter: {confidence: {from: 1e999999999}}) { totalCount } }",
    "a long name": f"{{ {'a' * 99_000} }}",
    "a long type": f"query($a: {'a' * 99_000}) {{ untrained {{ pk }} }}",
    "long names that are almost right": f"{{ untrained {{ {' '.join('titel' * 40 + str(n) for n in range(440))} }} }}",
    "fields in fields": "{ " + "untrained { " * 190 + "pk" + " }" * 191,
    "fields in fields without end": "{a" * 30_000,
    "inline fragments in inline fragments": "{ " + "... { " * 190 + "untrained { pk }" + " }" * 191,
    "300 inline fragments of no type": f"{{ {'... on Nope { a } ' * 300} }}",
    "240 operations": " ".join(f"query A{number} {{ untrained {{ pk }} }}" for number in range(240)),
    "an operation 240 times": "query A { untrained { pk } } " * 240,
    "comments": "{ untrained { pk } } " + "#\n" * 49_000,
    "a long comment": "{ untrained { pk } } #" + "a" * 99_000,
    "commas": "{ untrained { pk " + "," * 99_000 + " } }",
    "lines and a mistake": "\n" * 99_000 + "{ ? }",
    "lines and many mistakes": "\n" * 95_000 + "{ untrained { " + " ".join(f"x{n}" for n in range(400)) + " } }",
    "types": f"type A {{ {' '.join(f'a{number}: Int' for number in range(600))} }}",
    "introspection in depth": "{ __schema { types { " + "fields { type { " * 9 + "name" + " } }" * 9 + " } } }",
    "introspection in breadth": "{ "
    + " ".join(f"a{n}: __schema {{ types {{ fields {{ args {{ type {{ name }} }} }} }} }}" for n in range(20))
    + " }",
    "pages by alias": "{ " + " ".join(f"a{number}: {PAGES}" for number in range(20)) + " }",
    "pages within the limit": "{ " + " ".join(f"a{number}: {PAGES}" for number in range(9)) + " }",
    "pages in pages": f"{{ datasets(first: 1000) {{ nodes {{ {PAGES} }} }} }}",
    "NUL": "{ untrained { pk } }\0",
    "half of a character": '{ node(id: "\\ud800") { id } }',
}
