// Texts are stored in the page compressed (gzip, base64) and unpacked when they are needed.
const unpacked = new Map();

async function unpackTexts(index) {
  const packed = document.getElementById(`texts-${index}`).textContent;
  const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

function loadTexts(index) {
  if (index === null || index === undefined) return Promise.resolve(null);
  if (!unpacked.has(index)) unpacked.set(index, unpackTexts(index));
  return unpacked.get(index);
}
