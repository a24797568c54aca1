// What each program here follows, and what it prints: a line for each change, and one for the end.
export const CHANGES = `
  subscription Changes($after: String) {
    datasetChanged(after: $after) {
      cursor
      change
      imagePk
      dataset {
        id
        title
      }
    }
  }
`;

export interface Changes {
  datasetChanged: { cursor: string; change: string; imagePk: number | null; dataset: { id: string; title: string } };
}

/** The cursor of the last change that is known; with null, changes are told from now on. */
export const after = process.env['AFTER'] || null;

export function told({ datasetChanged: { change, imagePk, dataset } }: Changes) {
  console.log(JSON.stringify({ change, imagePk, title: dataset.title }));
}

export function ended(why: unknown) {
  console.log(JSON.stringify({ ended: why }));
}
