import "graphiql/setup-workers/vite";
import "graphiql/style.css";
import "@graphiql/plugin-explorer/style.css";
import "./style.css";
import { explorerPlugin } from "@graphiql/plugin-explorer";
import { GraphiQL } from "graphiql";
import { createRoot } from "react-dom/client";
import { createFetcher } from "./endpoint";
import { examples } from "./examples";
import { createChoice, filesPlugin } from "./files";
import { Pictures } from "./pictures";
import { takeToken } from "./token";

const token = takeToken();
const choice = createChoice();
// GraphiQL's own history is left out: it keeps headers, and with them the token, in the browser's storage.
const plugins = [explorerPlugin(), filesPlugin(choice)];
// What the variables editor accepts and offers.
const scalars = { Upload: { type: "null" }, Degree: { enum: [0, 90, 180, 270, 360] } };

createRoot(document.getElementById("graphiql")!).render(
  <GraphiQL
    fetcher={createFetcher(location.pathname, choice.get)}
    customScalarSchemas={scalars}
    plugins={plugins}
    defaultTabs={examples}
    defaultEditorToolsVisibility="variables"
    defaultHeaders={token ? JSON.stringify({ Authorization: `Bearer ${token}` }, null, 2) : ""}
    // For the same reason.
    shouldPersistHeaders={false}
  >
    <GraphiQL.Logo>Dataset server</GraphiQL.Logo>
    <GraphiQL.Footer>
      <Pictures />
    </GraphiQL.Footer>
  </GraphiQL>,
);
