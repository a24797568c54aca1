// What each example is told: where the server is, who asks, and a photo to save.
export const url = setting('GRAPHQL_URL');
export const token = setting('TOKEN');
export const photo = process.env['PHOTO'] ?? 'photo.jpg';

function setting(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`Set ${name}.`);
  return value;
}
