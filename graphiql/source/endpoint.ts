import type { Fetcher, FetcherOpts, FetcherParams } from "@graphiql/toolkit";
import {
  type ExecutionResult,
  type GraphQLSchema,
  type IntrospectionQuery,
  type OperationDefinitionNode,
  buildClientSchema,
  getOperationAST,
  parse,
} from "graphql";
import { type Client, createClient } from "graphql-sse";
import { type Request, multipart, uploadPaths } from "./uploads";

type Events = ReturnType<Client["iterate"]>;

/** Sends operations to `path`; the files are asked for anew at each, and join where the schema wants an Upload. */
export function createFetcher(path: string, files: () => readonly File[]): Fetcher {
  // A promise, because somebody who is quick runs an upload before GraphiQL has asked for the schema to the end.
  let learned: Promise<GraphQLSchema | undefined> = Promise.resolve(undefined);

  async function fetcher(params: FetcherParams, options?: FetcherOpts): Promise<ExecutionResult | Events> {
    const operation = operationIn(params);
    const request: Request = { query: params.query, variables: params.variables ?? {} };
    // Of one without a name GraphiQL still gives the name that was in the tab before.
    const operationName = operation ? operation.name?.value : params.operationName;
    if (operationName) request.operationName = operationName;
    const schema = operationName === "IntrospectionQuery" ? undefined : await learned;
    if (operation?.operation === "subscription") {
      // Server-sent events and no WebSocket, because a page cannot give that one headers, and with them the token.
      return createClient({ url: path, headers: { ...options?.headers } }).iterate(request);
    }
    const paths = schema && operation ? uploadPaths(schema, operation, request.variables) : [];
    if (paths.length === 0) {
      const answer = send(JSON.stringify(request), { ...options?.headers, "Content-Type": "application/json" });
      if (operationName === "IntrospectionQuery") learned = answer.then(schemaIn).catch(() => undefined);
      return answer;
    }
    const chosen = files();
    if (chosen.length !== paths.length) return failure(mismatch(paths, chosen.length));
    return send(multipart(request, paths, chosen), { ...options?.headers, "GraphQL-Require-Preflight": "1" });
  }

  async function send(body: string | FormData, headers: Record<string, string>): Promise<ExecutionResult> {
    const accept = "application/graphql-response+json, application/json;q=0.9";
    const response = await fetch(path, { method: "POST", body, headers: { Accept: accept, ...headers } });
    const text = await response.text();
    try {
      return JSON.parse(text);
    } catch {
      return failure(`The server answered ${response.status} without JSON: ${text.slice(0, 200)}`);
    }
  }

  return fetcher;
}

function schemaIn({ data }: ExecutionResult): GraphQLSchema | undefined {
  return data ? buildClientSchema(data as unknown as IntrospectionQuery) : undefined;
}

/** What will run. GraphiQL's own idea of it lags behind the editor, and after a change of tabs is of the other tab. */
function operationIn({ query, operationName }: FetcherParams): OperationDefinitionNode | undefined {
  try {
    const document = parse(query);
    return getOperationAST(document) ?? getOperationAST(document, operationName) ?? undefined;
  } catch {
    return undefined; // The server tells what is wrong with the query, and where.
  }
}

function mismatch(paths: readonly string[], chosen: number): string {
  const wanted = `This operation sends ${paths.length === 1 ? "one photo" : `${paths.length} photos`} (${paths.join(", ")})`;
  return `${wanted}, and ${chosen || "none"} ${chosen > 1 ? "are" : "is"} chosen: choose in the panel "Files" on the left.`;
}

function failure(message: string): ExecutionResult {
  return { errors: [{ message }] } as unknown as ExecutionResult;
}
