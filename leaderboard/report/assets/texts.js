// Texts lie in the page packed (gzip, base64) and are unpacked when they are looked at.
const unpacked = new Map();

async function unpack(at) {
  const packed = document.getElementById(`texts-${at}`).textContent;
  const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

function texts(at) {
  if (at === null || at === undefined) return Promise.resolve(null);
  if (!unpacked.has(at)) unpacked.set(at, unpack(at));
  return unpacked.get(at);
}
