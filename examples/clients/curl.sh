#!/usr/bin/env bash
# curl; each answer is a line.
# GRAPHQL_URL=http://127.0.0.1:8000/graphql TOKEN=… PHOTO=photo.jpg ./curl.sh
set -euo pipefail

ask() {
    curl --silent --show-error "$GRAPHQL_URL" \
        -H "Authorization: Bearer ${2-$TOKEN}" -H 'Content-Type: application/json' -d "$1"
    echo
}

# Ask
ask '{"query": "{ untrained { title } }"}'

# Page to the end of a list
images='query($after: String) { images(first: 3, after: $after) { nodes { originalFileName } pageInfo { endCursor hasNextPage } } }'
after=null
while [ "$after" ]; do
    page=$(ask "{\"query\": \"$images\", \"variables\": {\"after\": $after}}")
    echo "$page"
    after=$(sed -n 's/.*"endCursor":\("[^"]*"\),"hasNextPage":true.*/\1/p' <<<"$page")
done

# Save a photo
save() {
    fix='{"file": null, "modelDegree": '$1', "confidence": 0.97, "userFixDegree": 0}'
    curl --silent --show-error "$GRAPHQL_URL" \
        -H "Authorization: Bearer $TOKEN" -H 'GraphQL-Require-Preflight: 1' \
        -F operations="{\"query\": \"mutation(\$input: SaveFixInput!) { saveFix(input: \$input) { image { originalFileName byteSize } } }\", \"variables\": {\"input\": $fix}}" \
        -F map='{"photo": ["variables.input.file"]}' \
        -F photo="@$PHOTO;filename=lunch.jpg"
    echo
}
save 90

# Read errors' codes: 45 is no turn
save 45
ask '{"query": "mutation { removeImage(input: {pk: 999999999}) { image { pk } } }"}'
ask '{"query": "{ untrained { title } }"}' a-stranger
