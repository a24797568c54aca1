import type { GraphiQLPlugin } from "@graphiql/react";
import { useEffect, useState, useSyncExternalStore } from "react";

/** The photos that the next operation with an Upload sends; never stored, gone when the page is left. */
export type Choice = {
  get: () => readonly File[];
  set: (files: readonly File[]) => void;
  subscribe: (listener: () => void) => () => void;
};

export function createChoice(): Choice {
  let files: readonly File[] = [];
  const listeners = new Set<() => void>();
  return {
    get: () => files,
    set(chosen) {
      files = chosen;
      for (const listener of listeners) listener();
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}

/** The panel in which photos are chosen. */
export function filesPlugin(choice: Choice): GraphiQLPlugin {
  return { title: "Files", icon: FilesIcon, content: () => <Files choice={choice} /> };
}

function Files({ choice }: { choice: Choice }) {
  const files = useSyncExternalStore(choice.subscribe, choice.get);
  return (
    <section aria-label="Files" className="files">
      <h2 className="graphiql-doc-explorer-title">Files</h2>
      <p>
        Choose a photo, write <code>null</code> for the file in the variables and run the operation: the photo is sent along.
        Several photos fill several <code>null</code>s, in order.
      </p>
      <label className="graphiql-button">
        Choose a photo …
        <input
          type="file"
          accept="image/jpeg,image/png,image/webp"
          multiple
          onChange={({ target }) => {
            choice.set([...(target.files ?? [])]);
            // A browser reports no change when the same photo is chosen again, unless its field was emptied.
            target.value = "";
          }}
        />
      </label>
      <ol>
        {files.map((file, index) => (
          <li key={index}>
            <Preview file={file} />
            <span>
              {file.name} <small>{size(file.size)}</small>
            </span>
            <button
              type="button"
              className="graphiql-un-styled"
              aria-label={`Leave ${file.name} out`}
              onClick={() => choice.set(files.filter((other) => other !== file))}
            >
              ×
            </button>
          </li>
        ))}
      </ol>
    </section>
  );
}

function Preview({ file }: { file: File }) {
  const [address, setAddress] = useState("");
  useEffect(() => {
    const made = URL.createObjectURL(file);
    setAddress(made);
    return () => URL.revokeObjectURL(made);
  }, [file]);
  return address ? <img src={address} alt="" /> : null;
}

function size(bytes: number): string {
  return bytes < 1_000_000 ? `${Math.ceil(bytes / 1000)} kB` : `${(bytes / 1_000_000).toFixed(1)} MB`;
}

function FilesIcon() {
  return (
    <svg viewBox="0 0 24 24" fill="none" stroke="currentColor" strokeWidth="1.5" strokeLinecap="round" strokeLinejoin="round">
      <rect x="3" y="4" width="18" height="16" rx="2" />
      <circle cx="8.500" cy="9.500" r="1.500" />
      <path d="m4 18 5.500-5 4 3.500L16 14l4.500 4" />
    </svg>
  );
}
