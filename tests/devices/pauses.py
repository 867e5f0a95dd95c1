"""Sentences with the places where their speakers rest, marked with a bar."""

from __future__ import annotations

ENGLISH = (
    "I wanted to ask about | the budget for last week.",
    "Can you tell me | what the weather will be | in Hamburg tomorrow?",
    "I think we should | go to the harbour and | have a look at the boats.",
    "Please remind me to | call my mother on | Sunday afternoon.",
    "What did I say | about the travel costs?",
    "If it rains tomorrow, | we should stay | at home.",
    "I need a table for | four people at | seven o'clock.",
    "The reason is | that the train was late and | I missed the meeting.",
    "Could you play | some music that is | not too loud?",
    "My sister lives in | a small house near | the old church.",
    "How long does it take | to cook | a potato?",
    "I would like to | order a coffee and | a piece of cake.",
    "Write an email to | my boss and say that | I am ill today.",
    "Because the shop was closed, | I went to | the market.",
    "Where is the | nearest station?",
    "Turn on the light in | the kitchen.",
    "She said that | she would come | next Friday.",
    "Set a timer for | twenty five minutes.",
    "Do you know | who wrote | this book?",
    "I don't know whether | I should buy the red one or | the blue one.",
    "What is the difference between | a crocodile and | an alligator?",
    "Tell me a story about | a dog who | could fly.",
    "Yesterday I met | an old friend from | school.",
    "Read me the | last message from | Peter.",
)

GERMAN = (
    "Ich wollte fragen, ob | du morgen Zeit hast.",
    "Kannst du mir sagen, | wie das Wetter in | Hamburg wird?",
    "Ich glaube, dass wir | zum Hafen gehen und | die Schiffe ansehen sollten.",
    "Erinnere mich daran, | am Sonntag meine | Mutter anzurufen.",
    "Wenn es morgen regnet, | bleiben wir | zu Hause.",
    "Ich brauche einen Tisch für | vier Personen um | sieben Uhr.",
    "Der Grund ist, dass | der Zug zu spät war und | ich die Sitzung verpasst habe.",
    "Meine Schwester wohnt in | einem kleinen Haus neben | der alten Kirche.",
    "Wie lange dauert es, | eine Kartoffel zu | kochen?",
    "Ich hätte gern einen | Kaffee und | ein Stück Kuchen.",
    "Schreib eine Mail an | meinen Chef und sag, dass | ich krank bin.",
    "Wo ist der | nächste Bahnhof?",
    "Mach das Licht in der | Küche an.",
    "Weißt du, wer | dieses Buch | geschrieben hat?",
    "Was ist der Unterschied zwischen | einem Krokodil und | einem Alligator?",
    "Gestern habe ich | einen alten Freund aus der | Schule getroffen.",
)


#: What Whisper tiny made of the English sentences (a Piper voice, cut at each pause, 0.3 s of
#: silence behind it): it completes what it does not know. None where the cut could not be placed.
HEARD: tuple[tuple[str | None, ...], ...] = (
    (
        "I wanted to ask about...",
        "I wanted to ask about the budget for last week.",
    ),
    (
        "Can you tell me what?",
        "Can you tell me what the weather will be in here?",
        "Can you tell me what the weather will be in Hamburg tomorrow?",
    ),
    (
        "I think we should.",
        "I think we should go to the harbor and",
        "I think we should go to the harbor and have a look at the boats.",
    ),
    (
        "Please remind me to call.",
        "Please remind me to call my mother on-",
        "Please remind me to call my mother on Sunday afternoon.",
    ),
    (
        "What did I say about?",
        "What did I say about the travel costs?",
    ),
    (
        "if it rains tomorrow.",
        "If it rains tomorrow, we should stay at.",
        "If it rains tomorrow, we should stay at home.",
    ),
    (
        None,
        None,
        "I need a table for four people at seven o'clock.",
    ),
    (
        "The reason is...",
        "The reason is that the train was late and I'm",
        "The reason is that the train was late and I missed the meeting.",
    ),
    (
        "Could you place it?",
        "Could you play some music that is...",
        "Could you play some music that is not too loud?",
    ),
    (
        "My sister lives and it's...",
        "My sister lives in a small house near the...",
        "My sister lives in a small house near the old church.",
    ),
    (
        "How long does it take?",
        "How long does it take to cook?",
        "How long does it take to cook a potato?",
    ),
    (
        "I would like to order.",
        "I would like to order a coffee and a...",
        "I would like to order a coffee and a piece of cake.",
    ),
    (
        "Write an email to my",
        "Write an email to my boss and say that I am",
        "Write an email to my boss and say that I am ill today.",
    ),
    (
        "because the shop was closed.",
        "because the shop was closed, I went to the...",
        "because the shop was closed, I went to the market.",
    ),
    (
        None,
        "Where's the nearest station?",
    ),
    (
        "turn on the light in the...",
        "turn on the light in the kitchen.",
    ),
    (
        "She said that she.",
        "She said that she would come next.",
        "She said that she would come next Friday.",
    ),
    (
        None,
        "Set a timer for 25 minutes.",
    ),
    (
        "Do you know?",
        "Do you know who wrote?",
        "Do you know who wrote this book?",
    ),
    (
        "I don't know whether.",
        "I don't know whether I should buy the red one or the...",
        "I don't know whether I should buy the red one or the blue one.",
    ),
    (
        "What is the difference between a...",
        "What is the difference between a crocodile and an...",
        "What is the difference between a crocodile and an alligator?",
    ),
    (
        "Tell me a story about it.",
        "Tell me a story about a dog who",
        "Tell me a story about a dog who could fly.",
    ),
    (
        "Yesterday I met him.",
        "Yesterday I met an old friend from Skr.",
        "Yesterday I met an old friend from school.",
    ),
    (
        "Read me the last.",
        "We need the last message from...",
        "We need the last message from Peter.",
    ),
)
