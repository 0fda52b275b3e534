"""Sentences that come with bvx: for parity samples, and for vocabularies that stand in for real ones.

They are of many lengths and kinds on purpose: questions, names, numbers, punctuation, a few other scripts.
"""

from __future__ import annotations

__all__ = ["builtin_texts"]


def builtin_texts() -> tuple[str, ...]:
    """All built-in texts, always in the same order: single words to short paragraphs."""
    return _TEXTS


_TEXTS: tuple[str, ...] = (
    "Yes.",
    "Thanks!",
    "Not today, sorry.",
    "Where is the harbour?",
    "The kettle is whistling again.",
    "Rain fell on the tin roof all night.",
    "She keeps three spare keys under the blue flowerpot.",
    "How long does the ferry to Tromsø take in winter?",
    "A red bicycle leaned against the bakery's wall.",
    "Please close the window before you leave.",
    "The committee meets on the second Tuesday of every month.",
    "Nobody had told the new teacher about the broken projector.",
    "Invoice no. 20417 was paid on 3 March, two days late.",
    "Can I return these shoes without a receipt?",
    "Water boils at a lower temperature on a mountain than at the sea.",
    "My grandmother's recipe needs 250 g of flour, 3 eggs and a pinch of salt.",
    "The train from Göttingen arrives at platform 7 at 18:42.",
    "He apologised twice, but his sister would not answer the telephone.",
    "This phone's battery hardly lasts until noon, and the camera is worse than the old one's.",
    "What a wonderful concert that was!",
    "The soup was cold, the waiter was rude, and the bill was wrong.",
    "I would buy this lamp again without a second thought.",
    "An average film: good actors, a tired story, and an ending that you see coming after ten minutes.",
    "Delivery took nine days instead of two, yet the parcel was undamaged.",
    "The hotel room smelled of fresh paint, but the view over the bay made up for it.",
    "Who wrote the music for the opening ceremony?",
    "When did the last glacier leave this valley?",
    "Which of the four engines failed first, and why?",
    "How many bones does an adult human hand have?",
    "Is it cheaper to repair the washing machine or to buy a new one?",
    "Why do cats purr?",
    "Could you send me the slides from yesterday's meeting?",
    "Do bees sleep at night?",
    "What happens if two people edit the same document at once?",
    "Professor Amina Okafor studies how coral reefs recover after storms.",
    "José and Zoë moved from São Paulo to Kraków in 2016.",
    "Mr. Lindqvist owns a small printing shop on Church Street.",
    "Captain Reyes ordered the crew to reduce speed near the sandbank.",
    "The Brontë sisters first published under other names.",
    "Dr. Nguyễn explained the results to the patient's family.",
    "Søren's café sells smørrebrød, crème brûlée and very strong coffee.",
    "The naïve plan failed; the cautious one merely disappointed.",
    "In 1869 the new canal shortened the voyage by several thousand kilometres.",
    "The bridge is 1,284 metres long and carries about 45,000 vehicles a day.",
    "Sales rose by 4.7% in the first quarter and fell by 1.2% in the second.",
    "Tickets cost €12.50 for adults and £5 for children under 14.",
    "Version 2.10.3 fixes a crash that version 2.9 introduced.",
    "Call +44 20 5550 0142 between 9 a.m. and 5 p.m.",
    "The recipe says 180 °C for 35 minutes, but my oven needs 40.",
    "Add 3/4 of a cup of milk; stir; wait; stir again.",
    "Write to support@example.org or visit https://example.org/help?topic=billing for details.",
    "ERROR 404: the page you asked for has gone for a walk.",
    "The password must have at least 12 characters, one digit and one of !@#$%&*.",
    "if (count > 0) { return total / count; }",
    "Rename the file to report_final_v2 (really).txt, please.",
    "The sampling rate is 48 kHz, the depth 24 bits, and the latency below 10 ms.",
    "北京的秋天很短,但是很美。",
    "東京の地下鉄は朝とても混んでいます。",
    "한국의 가을 하늘은 높고 푸르다.",
    "Завтра утром мы поедем на дачу, если не будет дождя.",
    "Η θάλασσα ήταν ήρεμη εκείνο το πρωί.",  # noqa: RUF001 - it is Greek
    "السوق مزدحم في نهاية الأسبوع.",
    "Der Zug hält nicht in jedem Dorf, obwohl die Bürger seit Jahren darum bitten.",
    "La bibliothèque ferme à dix-huit heures, même pendant l'été.",
    "¿Dónde puedo aparcar cerca del museo?",
    "Il gatto dorme sulla sedia accanto al camino.",
    "Great job 👍 see you tomorrow 😀",
    "The farmer counted his sheep twice and still came to a different number each time.",
    "Old maps show a village where today there is only the lake.",
    "A librarian found a letter, ninety years old and never opened, inside a book on beekeeping.",
    "The orchestra tuned for so long that the audience began to applaud the tuning.",
    "After the storm, volunteers cleared fallen branches from the cycle path along the river.",
    "Engineers tested the valve at twice its rated pressure before they signed the report.",
    "The museum's oldest clock loses four minutes a week, and the keeper likes it that way.",
    "Every spring the swallows return to the same beam in the same barn.",
    "The committee approved the budget, postponed the vote on parking, and went to lunch.",
    "A thin layer of ice had formed on the pond, too weak even for the ducks.",
    "The baker starts at three in the morning, when the streets belong to foxes and taxis.",
    "Scientists measured how quickly the dye spread through the sand at different depths.",
    "The court ruled that the landlord had to return the deposit within fourteen days.",
    "Two of the three witnesses described a green van; the third was sure that it had been grey.",
    "The striker missed a penalty in the first half and scored twice in the second.",
    "Shares of the shipping company fell after it warned that fuel would cost more next year.",
    "The vaccine has to be kept cold from the factory to the clinic, which is hard where power often fails.",
    "The satellite passes over the island every ninety-six minutes and photographs its forests.",
    "A committee of parents painted the classrooms yellow during the holidays.",
    "The violinist practised the same four bars until the neighbours could hum them.",
    "Most of the town's income comes from apples, tourism and a factory that makes zips.",
    "The old lighthouse was automated in the eighties and is now a guest house with six rooms.",
    "The river changes its course so often that the border had to be fixed by stones.",
    'He said "I\'ll be there by noon", and at noon he was still looking for his shoes.',
    "Her answer - brief, polite, final - arrived the same evening.",
    "They sold the car (a rusty, faithful estate) to a student for almost nothing.",
    "The sign read: NO SWIMMING; underneath, someone had added: for fish either.",
    "First boil the potatoes; then peel them; then, and only then, add the vinegar.",
    "It's not that the map was wrong... it was simply upside down.",
    "The U.S. team flew home on Sunday; the E.U. delegation stayed until Wednesday.",
    "Rock 'n' roll, they told him, wasn't music - so he bought a louder amplifier.",
    "The cat sat on the warm bonnet of the car.",
    "A cat was sitting on the car, where it was warm.",
    "The engine of the ship was repaired in the harbour.",
    "In the harbour, mechanics mended the ship's engine.",
    "Nobody likes to wait in the rain.",
    "The share price doubled within a month.",
    "The invention of cheap paper changed who could afford to write. Letters, accounts and school exercises that had "
    "been scratched on slate or wood began to be kept, and with them the habit of looking things up.",
    "When the power failed, the hospital's generators started within eight seconds. The lifts stopped between floors, "
    "as they are meant to, and the porters carried two patients down the stairs. By midnight everything was back to "
    "normal, except for the vending machine.",
    "The walk begins behind the station. Follow the stream for two kilometres, cross it by the second footbridge, "
    "and climb through the beech wood until the path divides. The left branch is shorter; the right one has the view.",
    "Our customers ask for three things: that the device starts quickly, that it never loses data, and that somebody "
    "answers when they call. We are good at the first, nearly perfect at the second, and hiring for the third.",
    "Salt was once so valuable that whole roads were built for it. Merchants carried it from the coast and from mines "
    "in the hills to towns that had none, where it kept meat and fish through the winter; princes taxed it at every "
    "bridge. Some of these roads are still in use, although nobody on them thinks of salt any more.",
    "The patient, a 54-year-old woman, reported a dull pain in her left shoulder that had lasted for three weeks. She "
    "had not fallen or lifted anything heavy. Movement was free in all directions, reflexes were normal on both sides, "
    "and an X-ray showed nothing unusual.",
    "Before you plant a hedge, think about how tall it may grow, how often you are willing to cut it, and what your "
    "neighbour will say. Hornbeam keeps its dry leaves in winter, yew stays green, and hawthorn feeds the birds. Water "
    "it well in the first two summers.",
    "The programme reads a list of names, one on each line, sorts them, and writes those that occur more than once "
    "into a second file. It is twelve lines long and has run every night for eleven years; its author retired long "
    "ago, and nobody has dared to touch it since.",
    "Late in the match, with the score at two all and rain sweeping across the pitch, the goalkeeper came up for a "
    "corner. The ball struck a defender, then the post, then somebody's knee, and rolled over the line so slowly that "
    "for a moment neither side believed it.",
    "Glass is made from sand, soda and lime. The mixture melts at about 1,500 °C, and while it is soft it can be "
    "blown, pressed, drawn or floated on molten tin, which gives panes that need no polishing. Broken glass goes into "
    "every batch, because it melts sooner and saves fuel.",
    "Dear Ms. Hart, thank you for your letter of 14 May. We regret that your order was sent to your former address. "
    "A second parcel left our warehouse this morning and should reach you by Friday; please keep the first one should "
    "it ever turn up. Yours sincerely, the dispatch department",
)
