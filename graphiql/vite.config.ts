import { readFile, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { defineConfig, type Plugin } from "vite";

/** Writes name.gz beside every large file, so that the server never spends time on compressing. */
function precompress(): Plugin {
  return {
    name: "precompress",
    async writeBundle({ dir = "" }) {
      for (const name of await readdir(join(dir, "assets"))) {
        const path = join(dir, "assets", name);
        const bytes = await readFile(path);
        if (bytes.length > 1024) await writeFile(`${path}.gz`, gzipSync(bytes, { level: 9 }));
      }
    },
  };
}

export default defineConfig({
  build: {
    outDir: "../graphql_server/http/static/graphiql",
    emptyOutDir: true,
    license: { fileName: "licenses.md" },
    // Monaco, the editor, is one large piece that is needed at once: nothing can be split off.
    chunkSizeWarningLimit: 5000,
    rolldownOptions: {
      onLog(level, log, report) {
        // "use client" speaks to servers that render React; a bundle for the browser rightly drops it.
        if (log.code !== "MODULE_LEVEL_DIRECTIVE") report(level, log);
      },
    },
  },
  worker: { format: "es" },
  experimental: {
    // The page is served as …/graphql and its files as …/graphiql/…: relative addresses hold behind every path prefix.
    renderBuiltUrl: (name, { hostType }) => (hostType === "html" ? `graphiql/${name}` : { relative: true }),
  },
  plugins: [precompress()],
});
