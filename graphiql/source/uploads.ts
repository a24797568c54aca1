import {
  type GraphQLInputType,
  type GraphQLSchema,
  type OperationDefinitionNode,
  isInputObjectType,
  isInputType,
  isListType,
  isNonNullType,
  typeFromAST,
} from "graphql";

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
export type Request = { query: string; operationName?: string; variables: { [name: string]: Json } };

/** The paths ("variables.input.file") at which `variables` holds null where the schema wants an Upload. */
export function uploadPaths(
  schema: GraphQLSchema,
  operation: OperationDefinitionNode,
  variables: Request["variables"],
): string[] {
  return (operation.variableDefinitions ?? []).flatMap(({ type, variable }) => {
    const wanted = typeFromAST(schema, type);
    const name = variable.name.value;
    return isInputType(wanted) ? pathsIn(wanted, variables[name], `variables.${name}`) : [];
  });
}

function pathsIn(type: GraphQLInputType, value: Json | undefined, path: string): string[] {
  if (isNonNullType(type)) return pathsIn(type.ofType, value, path);
  if (value === null) return "name" in type && type.name === "Upload" ? [path] : [];
  if (isListType(type) && Array.isArray(value)) {
    return value.flatMap((item, index) => pathsIn(type.ofType, item, `${path}.${index}`));
  }
  if (isInputObjectType(type) && typeof value === "object" && !Array.isArray(value)) {
    return Object.values(type.getFields()).flatMap((field) => pathsIn(field.type, value[field.name], `${path}.${field.name}`));
  }
  return [];
}

/** The request as the GraphQL multipart request specification has it: operations, map, files; in this order. */
export function multipart(request: Request, paths: readonly string[], files: readonly File[]): FormData {
  const form = new FormData();
  form.set("operations", JSON.stringify(request));
  form.set("map", JSON.stringify(Object.fromEntries(paths.map((path, index) => [index, [path]]))));
  files.forEach((file, index) => form.set(String(index), file));
  return form;
}
