import { useGraphiQL } from "@graphiql/react";
import { useMemo } from "react";
import type { Json } from "./uploads";

type Picture = { url: string; degree: number | null; caption: string };

/** The pictures of the result at hand, set upright. */
export function Pictures() {
  const response = useGraphiQL((state) => state.tabs[state.activeTabIndex]?.response ?? "");
  const pictures = useMemo(() => picturesIn(parsed(response)), [response]);
  if (pictures.length === 0) return null;
  return (
    <ul className="pictures" aria-label="Pictures">
      {pictures.map(({ url, degree, caption }, index) => (
        <li key={index}>
          <div>
            {/* Degrees are counter-clockwise, CSS turns clockwise; the browser has applied a JPEG's EXIF already. */}
            <img src={url} alt="" loading="lazy" style={{ transform: `rotate(${-(degree ?? 0)}deg)` }} />
          </div>
          <span title={caption}>{caption}</span>
          <small>{degree === null ? "as stored" : degree === 0 ? "upright" : `turned ${degree}° ↺`}</small>
        </li>
      ))}
    </ul>
  );
}

function parsed(text: string): Json {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Every object with a `url`, however deep, in the order of the result; each picture once. */
function picturesIn(result: Json): Picture[] {
  const found = new Map<string, Picture>();
  const visit = (value: Json): void => {
    if (value === null || typeof value !== "object") return;
    if (!Array.isArray(value) && typeof value.url === "string" && !found.has(value.url)) {
      found.set(value.url, picture(value, value.url));
    }
    Object.values(value).forEach(visit);
  };
  visit(result);
  return [...found.values()];
}

function picture(image: { [name: string]: Json }, url: string): Picture {
  const { pk, originalFileName, uprightDegree } = image;
  const caption = [typeof pk === "number" ? `#${pk}` : "", originalFileName ?? ""].join(" ").trim();
  return { url, degree: typeof uprightDegree === "number" ? uprightDegree : null, caption: caption || "picture" };
}
